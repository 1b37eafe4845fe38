"""Stands in for Colab's own module: a notebook knows by its presence where it runs."""


class output:
    """Colab's switch for third-party widgets."""

    @staticmethod
    def enable_custom_widget_manager():
        """Do nothing: the widgets of this environment need no switch."""


class files:
    """Colab's file dialogues."""

    @staticmethod
    def upload():
        """Return what a user who chooses no file uploads."""
        return {}
