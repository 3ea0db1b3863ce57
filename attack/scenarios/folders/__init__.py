"""What others write into inbox, spool, outputs and the gateway's folders, and what user code tries in its container."""
