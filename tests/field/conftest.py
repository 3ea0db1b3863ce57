from tests.mltm.cli.conftest import gateway, mltm

__all__ = ["gateway", "mltm"]
