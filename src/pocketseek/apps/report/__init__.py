"""The bench report: measured figures of one model on one device, as JSON, and two of them compared."""
