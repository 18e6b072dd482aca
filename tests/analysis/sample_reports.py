"""Small realistic reports, computed in plain numpy, for the tests of everything that shows them."""

import dataclasses
import functools

import numpy as np

from sphuni.analysis.report import Histogram, LayerReport, ModelReport, Totals

TESTS = ("rayleigh", "bingham", "gine_gn", "packing")


def points_of(kind: str, n: int, d: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((n, d))
    if kind == "common direction":
        x[:, 0] += 0.5 * np.sqrt(d)
    elif kind == "few directions":
        x = rng.standard_normal((n, max(2, d // 12))) @ rng.standard_normal((max(2, d // 12), d))
        x += 0.05 * rng.standard_normal((n, d))
    elif kind == "clustered":
        x += 0.7 * rng.standard_normal((8, d))[rng.integers(8, size=n)]
        x *= np.linspace(0.5, 1.6, d)
    elif kind == "collapsed pair":
        x[1] = x[0] + 0.03 * rng.standard_normal(d)
        x[3] = -x[2]
    elif kind == "more regular than random":
        x = np.linalg.qr(rng.standard_normal((max(n, d), max(n, d))))[0][:n, :d]
        x += 0.01 * rng.standard_normal((n, d))
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def riesz(t: np.ndarray, s: int) -> np.ndarray:
    return -0.5 * np.log(2 - 2 * t) if s == 0 else (2 - 2 * t) ** (-s / 2)


def energies(t: np.ndarray, n: int, d: int) -> tuple[dict, dict, dict]:
    energy, excess, z = {}, {}, {}
    for s in (0, 1, 2):
        f = functools.partial(riesz, s=s)
        draws = np.random.default_rng(0).standard_normal((4000, 2, d))
        draws /= np.linalg.norm(draws, axis=2, keepdims=True)
        u = (draws[:, 0] * draws[:, 1]).sum(1)
        for key, g, best in (
            (f"{s}", f, f(np.array(-1 / max(n - 1, 1)))),
            (f"half:{s}", lambda t, f=f: f(t) + f(-t), 2 * f(np.array(0.0))),
        ):
            value, mean = float(g(t).mean()), float(g(u).mean())
            energy[key] = value
            excess[key] = (value - float(best)) / (mean - float(best))
            z[key] = (value - mean) / (float(g(u).std()) / np.sqrt(t.size))
    return energy, excess, z


def layer(
    name: str, verdict: str = "uniform", n: int = 64, d: int = 96, seed: int = 0
) -> LayerReport:
    x = points_of(verdict, n, d, seed)
    gram = x @ x.T
    t = np.clip(gram[np.triu_indices(n, 1)], 1e-9 - 1, 1 - 1e-9)
    nearest = np.degrees(np.arccos(np.clip((gram - 3 * np.eye(n)).max(1), -1, 1)))
    sigma = np.linalg.svd(x, compute_uv=False)
    energy, excess, z = energies(t, n, d)
    q = sigma**2 / (sigma**2).sum()
    rank = float(np.exp(-(q * np.log(q + 1e-300)).sum()))
    r = float(np.linalg.norm(x.mean(0)))
    low = {"uniform": 0.4, "more regular than random": 0.9}.get(verdict, 1e-7)
    p = dict(zip(TESTS, (low, low * 1.3 % 1, low * 1.7 % 1, low * 2.1 % 1), strict=True))
    lower = {k: 1e-5 if verdict == "more regular than random" else 1 - v for k, v in p.items()}
    order = np.argsort(-np.abs(t))[:10]
    i, j = np.triu_indices(n, 1)
    pairs = tuple((int(i[k]), int(j[k]), float(t[k])) for k in order)
    top = int(np.argmax(t))
    return LayerReport(
        name=name,
        kind="Linear",
        status="analysed",
        shape=(n, d),
        n=n,
        d=d,
        norm_min=0.0 if verdict == "dead neurons" else 0.71,
        norm_max=1.32,
        max_cosine=float(t.max()),
        pair=(int(i[top]), int(j[top])),
        separation_deg=float(nearest.min()),
        energy=energy,
        excess=excess,
        excess_is_upper=dict.fromkeys(excess, n > d),
        z=z,
        statistic={k: 100.0 + 3 * q for q, k in enumerate(TESTS)},
        effect_size=dict.fromkeys(TESTS, 1.0 + r),
        p=p,
        p_lower=lower,
        p_adjusted=p,
        p_lower_adjusted=lower,
        effective_rank=rank,
        effective_rank_ratio=rank / (0.75 * min(n, d)),
        stable_rank=float((sigma**2).sum() / sigma[0] ** 2),
        mean_resultant_length=r,
        verdict=verdict,
        why=f"The numbers of this layer say {verdict}: max cosine {t.max():.3f}, R {r:.3f}.",
        dead=(3, 17) if verdict == "dead neurons" else (),
        worst_pairs=pairs,
        cosine_histogram=Histogram(*np.histogram(t, bins=200, range=(-1, 1))),
        angle_histogram=Histogram(*np.histogram(nearest, bins=180, range=(0, 180))),
        singular_values=sigma,
        sampled="" if n < 300 else "pairs: 10 % were drawn, standard error 0.001",
        notes=("rows 2 and 3 are antipodal",) if verdict == "collapsed pair" else (),
        seconds=0.25,
    )


def skipped(name: str, reason: str = "1-D: biases and scales have no directions") -> LayerReport:
    return LayerReport(name=name, kind="bias", status="skipped", reason=reason, shape=(64,))


def failed(name: str) -> LayerReport:
    return LayerReport(
        name=name, kind="Linear", status="failed", reason="row 3 holds NaN", shape=(8, 8)
    )


def model(layers: tuple[LayerReport, ...], source: str = "model.safetensors") -> ModelReport:
    count = {s: sum(item.status == s for item in layers) for s in ("analysed", "skipped", "failed")}
    return ModelReport(
        source=source,
        layers=layers,
        created="2026-01-02T03:04:05+00:00",
        version="0.1.0",
        settings={"baseline": "uniform", "center": False, "seed": 0},
        totals=Totals(tensors=len(layers), parameters=sum(x.n * x.d for x in layers), **count),
    )


VERDICTS = (
    "clustered",
    "uniform",
    "collapsed pair",
    "few directions",
    "common direction",
    "more regular than random",
    "dead neurons",
)


def small() -> ModelReport:
    layers = [layer(f"encoder.{k}.weight", v, seed=k) for k, v in enumerate(VERDICTS)]
    return model((*layers, skipped("encoder.0.bias"), failed("head.weight")))


HOSTILE = (
    "<script>document.title='owned'</script>",
    "</script><script>alert(1)</script>",
    "</style><style>*{display:none}</style>",
    "</title><h1>owned</h1>",
    "</code></summary></details><b>out</b>",
    '"><img src=x onerror=alert(1)>',
    "'><img src=URL/a.png>",
    "<img src=URL/b.png>",
    '"><link rel=stylesheet href=URL/c.css>',
    "<iframe src=URL/d></iframe>",
    "<svg onload=alert(1)>",
    "<svg><script>alert(1)</script></svg>",
    "<body onload=alert(1)>",
    "<meta http-equiv=refresh content='0;url=URL/e'>",
    "<base href=URL/>",
    "<a href=javascript:alert(1)>x</a>",
    "javascript:alert(1)",
    "<form action=URL/f><input autofocus onfocus=alert(1)>",
    "<!-- comment",
    "--><script>alert(1)</script>",
    "]]><script>alert(1)</script>",
    "{{7*7}}",
    "{% for x in ().__class__.__base__.__subclasses__() %}{{x}}{% endfor %}",
    "${7*7}#{7*7}<%= 7*7 %>",
    "&lt;b&gt;&amp;&#x3c;script&#x3e;",
    'a" onmouseover=alert(1) b="',
    "a' onmouseover='alert(1)",
    "`onerror=alert(1)`",
    "../../../../etc/passwd",
    "=cmd|'/C calc'!A0",
    "+1+1",
    "-2+3",
    "@SUM(A1)",
    "\tindented",
    "\rreturned",
    "line\nbreak",
    "nul\x00nul",
    "bell\x07 \x1b[31mred\x1b[0m \x1b]0;title\x07",
    "right-to-left \u202etfel\u202c",
    "zero\u200bwidth\ufeff",
    "line\u2028separator",
    "lone \ud800 surrogate",
    "[bold red]markup[/bold red]",
    "$\\frac{1}{0}$",
    "twin",
    "twin",
    "日本語 ümlaut 🦔",
    "x" * 1_000_000,
    "<b>" * 100_000,
    "",
)
"""Names that try to escape from a page, a table or a spreadsheet. URL stands for a server."""


def hostile(url: str = "http://127.0.0.1:9") -> ModelReport:
    base = layer("base", "collapsed pair", 24, 16)
    names = [name.replace("URL", url) for name in HOSTILE]
    layers = [dataclasses.replace(base, name=n, kind=n, why=n, notes=(n,)) for n in names]
    broken = [dataclasses.replace(failed(n), reason=n) for n in names[:5]]
    left = [dataclasses.replace(skipped(n, n), kind=n) for n in names]
    report = model((*layers, *broken, *left), source=names[0])
    return dataclasses.replace(report, partial=True, reason=names[1], settings={names[2]: names[3]})
