"""The command `mltm`."""
