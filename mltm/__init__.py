"""What users import: the client and the command `mltm`, and the contract that gateway and agent both signed."""
