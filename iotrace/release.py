"""Which release of iotrace this is."""

__version__ = "0.1.0"


def version() -> str:
    """The version, with the commit where the one-file build names it."""
    try:
        from iotrace._build import COMMIT  # type: ignore[import-not-found]  # noqa: PLC0415
    except ImportError:
        return __version__
    return f"{__version__} ({COMMIT})" if COMMIT else __version__
