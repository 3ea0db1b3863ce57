"""The only owner of sdnotify: tells systemd how the service is; silent if systemd did not start us."""

from collections.abc import Mapping

import sdnotify

__all__ = ["Notifier"]


class Notifier:
    """READY, WATCHDOG and STOPPING. every_s: how often systemd wants to hear that we are alive; None: not at all."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        # Without NOTIFY_SOCKET sdnotify 0.3.2 opens a socket and never closes it.
        self._socket = sdnotify.SystemdNotifier() if environment.get("NOTIFY_SOCKET") else None
        period = environment.get("WATCHDOG_USEC", "")
        # sd_watchdog_enabled(3) recommends half of the period; with a third one message may come late.
        self.every_s = int(period) / 3e6 if self._socket is not None and period.isdecimal() else None

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
