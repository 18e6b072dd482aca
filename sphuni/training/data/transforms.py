"""Fixed transforms of images, for experiments about what images say."""

from collections.abc import Callable

import torch
from torch import Tensor

__all__ = ["TRANSFORMS", "magnitude_only", "phase_only"]


def phase_only(images: Tensor) -> Tensor:
    r"""Give every Fourier coefficient of an image the magnitude 1.

    Parameters
    ----------
    images : Tensor of shape (n, channels, height, width)

    Returns
    -------
    Tensor of the same shape
        The real image whose spectrum is F / |F|; coefficients that vanish stay 0.

    Examples
    --------
    >>> import torch
    >>> phase_only(3.0 * torch.eye(4)[None, None]).sum().item()
    1.0
    """
    if images.numel() == 0:  # which the FFT of MKL refuses
        return images
    spectrum = torch.fft.fft2(images)
    size = spectrum.abs()
    tiny = 1e-6 * size.amax(dim=(-2, -1), keepdim=True)
    unit = torch.where(size > tiny, spectrum / size.clamp_min(1e-30), torch.zeros_like(spectrum))
    return torch.fft.ifft2(unit).real


def magnitude_only(images: Tensor) -> Tensor:
    """Set the phase of every Fourier coefficient to 0 and move the result to the middle.

    Parameters
    ----------
    images : Tensor of shape (n, channels, height, width)

    Returns
    -------
    Tensor of the same shape
        An even image around its centre: what is left without phases.
    """
    if images.numel() == 0:
        return images
    return torch.fft.fftshift(torch.fft.ifft2(torch.fft.fft2(images).abs()).real, dim=(-2, -1))


TRANSFORMS: dict[str, Callable[[Tensor], Tensor]] = {
    "phase": phase_only,
    "magnitude": magnitude_only,
}
