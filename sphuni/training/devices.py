"""Where networks are trained: a device that is there, by the one name that is compared with."""

import torch

from sphuni._errors import first_sentence

__all__ = ["present_device"]


def present_device(name: str | torch.device, *, option: str = "device", others: str = "") -> str:
    """Return a device's name, ``cpu`` for the processor however it was called.

    Parameters
    ----------
    name : str or torch.device
    option : str, default "device"
        What messages call it.
    others : str, default ""
        What else may be given, with a comma behind it.

    Raises
    ------
    ValueError
        If it is no device, or one that this machine does not have.

    Examples
    --------
    >>> present_device("cpu:0")
    'cpu'
    """
    try:
        device = torch.device(name)
    except (RuntimeError, TypeError) as error:
        raise ValueError(
            f"{option} must be {others}cpu, cuda, cuda:1, ...; got {name!r}"
        ) from error
    try:
        torch.zeros(1, device=device).item()
    except Exception as error:  # each kind of device has its own
        raise ValueError(
            f"{option} {name} is not here: {first_sentence(error)}. This machine has cpu"
            + "".join(f", cuda:{index}" for index in range(torch.cuda.device_count()))
        ) from error
    return "cpu" if device.type == "cpu" else str(device)
