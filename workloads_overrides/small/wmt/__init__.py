"""A small WMT: translation of user interface strings from German into English."""
