"""The web app: one chat turn, the rules behind the buttons, the pages."""
