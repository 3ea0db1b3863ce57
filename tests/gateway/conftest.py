from tests.gateway.fixtures import house

__all__ = ["house"]
