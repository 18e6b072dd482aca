"""Check array shapes at run time: every module but those that torch.compile has to trace."""

from pathlib import Path

from jaxtyping import install_import_hook

_ROOT = Path(__file__).parent
_TRACED = ("sphuni.kernels", "sphuni.pairwise._inductor")


def _hooked() -> list[str]:
    files = sorted((_ROOT / "sphuni").rglob("*.py"))
    names = [".".join(file.relative_to(_ROOT).with_suffix("").parts) for file in files]
    return [name for name in names if not name.startswith(_TRACED) and "__" not in name]


_CHECKER = "beartype.beartype(conf=beartype.BeartypeConf(is_pep484_tower=True))"
install_import_hook(_hooked(), _CHECKER)
