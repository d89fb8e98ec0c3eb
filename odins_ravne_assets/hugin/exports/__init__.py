"""What is handed to other tools: MegaDetector JSON, Camtrap DP, CSV."""
