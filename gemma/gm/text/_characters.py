"""Characters and their bytes: half ones are refused, or shown as such."""


def require_whole_characters(text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ValueError(
            f"The text holds the lone surrogate {text[error.start]!r} at index "
            f"{error.start}, which is half a character. Repair the text with "
            "text.encode('utf-16', 'surrogatepass').decode('utf-16', 'replace')."
        ) from error


def decode_bytes(run: bytes) -> str:
    try:
        return run.decode()
    except UnicodeDecodeError:
        return "\ufffd" * len(run)
