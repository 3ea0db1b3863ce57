"""Tells systemd how the service is (sd_notify); silent where systemd did not start us."""

from collections.abc import Mapping

import sdnotify

__all__ = ["Notifier"]


class Notifier:
    """READY, WATCHDOG and STOPPING. `watchdog_s`: how often systemd wants to hear from us at the latest, or None."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        # Without NOTIFY_SOCKET sdnotify 0.3.2 opens a socket and never closes it.
        self._socket = sdnotify.SystemdNotifier() if environment.get("NOTIFY_SOCKET") else None
        period = environment.get("WATCHDOG_USEC", "")
        self.watchdog_s = int(period) / 1e6 if self._socket is not None and period.isdigit() else None

    def ready(self) -> None:
        """The service works."""
        self._send("READY=1")

    def alive(self, status: str) -> None:
        """The service still works; `status` is shown by `systemctl status`."""
        self._send(f"WATCHDOG=1\nSTATUS={status}")

    def stopping(self) -> None:
        """The service is about to leave."""
        self._send("STOPPING=1")

    def close(self) -> None:
        """Close the socket."""
        if self._socket is not None and self._socket.socket is not None:
            self._socket.socket.close()

    def _send(self, state: str) -> None:
        if self._socket is not None:
            # sdnotify encodes as Latin-1 and swallows the failure.
            self._socket.notify(state.encode("ascii", "replace").decode())
