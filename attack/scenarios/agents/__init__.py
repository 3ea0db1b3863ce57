"""What somebody with an agent's credential, or between agent and gateway, tries."""
