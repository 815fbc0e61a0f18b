"""No connection is opened while a model loads, whatever its library would like to check."""

import os


def go_offline() -> None:
    """Tell the Hugging Face libraries, imported already or not, that there is no network.

    They are also kept from drawing progress bars into the harness's own.
    """
    os.environ["HF_HUB_OFFLINE"] = "1"
    os.environ["TRANSFORMERS_OFFLINE"] = "1"
    from huggingface_hub import constants
    from transformers.utils import logging

    constants.HF_HUB_OFFLINE = True
    logging.disable_progress_bar()
    logging.set_verbosity_error()
