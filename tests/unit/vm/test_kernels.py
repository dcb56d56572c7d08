"""Kernel images by their paths, and what is done for them."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from tests.vm import machine
from tests.vm.kernels import Image, ImageError, release


def bzimage(path: Path, text: str) -> Path:
    """The header of a bzImage: Documentation/arch/x86/boot.rst."""
    header = bytearray(0x4000)
    header[0x202:0x206] = b"HdrS"
    struct.pack_into("<H", header, 0x20E, 0x3000 - 0x200)
    header[0x3000 : 0x3000 + len(text)] = text.encode()
    path.write_bytes(header)
    return path


def test_a_bzimage_says_its_release(tmp_path: Path) -> None:
    path = bzimage(tmp_path / "bzImage-old", "4.14.325-appliance (root@host) #1 SMP Mon Jan 1 2024")
    image = Image.at(path)
    assert (image.name, image.architecture, image.image, image.fetched) == ("bzImage-old", "amd64", path, True)
    assert release(path) == "4.14.325-appliance"


@pytest.mark.parametrize("start", [bytes(56) + b"ARM\x64", b"\x1f\x8b\x08"], ids=["plain", "compressed"])
def test_an_image_of_aarch64(tmp_path: Path, start: bytes) -> None:
    path = tmp_path / "Image"
    path.write_bytes(start + bytes(100))
    assert Image.at(path).architecture == "arm64"
    assert not release(path)


def test_what_is_no_image(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("bzImage" * 100)
    with pytest.raises(ImageError, match="text: neither a bzImage nor an Image of aarch64"):
        Image.at(tmp_path / "text")
    with pytest.raises(ImageError, match="none: No such file"):
        Image.at(tmp_path / "none")


@pytest.mark.parametrize(
    ("kernel", "qemu", "cpus"),
    [
        *(("4.14.5", 7, "2"), ("5.10.0-32-cloud-amd64", 7, "2"), ("6.1.0-50-cloud-amd64", 7, "2"), ("6.11.9", 7, "2")),
        *(("6.12.107+deb13-cloud-amd64", 7, "1"), ("7.3.4+deb13-cloud-amd64", 7, "1"), ("", 7, "1")),
        *(("6.12.107+deb13-cloud-amd64", 10, "2"), ("", 10, "2"), ("7.3.4", 0, "1")),
    ],
)
def test_two_cpus_where_qemu_can(kernel: str, qemu: int, cpus: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "_qemu_major", lambda: qemu)
    assert machine._x86_processor(kernel) == (("max,cx16=off", "1") if cpus == "1" else ("max", "2"))
