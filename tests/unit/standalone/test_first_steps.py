"""What `up` tells whoever started it."""

from pathlib import Path

from services.standalone.directory import DataDirectory, default_directory
from services.standalone.installation import Door
from services.standalone.up import first_steps

DOOR = Door(host="127.0.0.1", port=8080)


def test_at_a_terminal_a_token_is_shown() -> None:
    text = first_steps(DOOR, DataDirectory(default_directory()), "a.b.c")

    assert "  export TOKEN=a.b.c\n" in text
    assert "  http://127.0.0.1:8080/signin#a.b.c\n" in text


def test_elsewhere_the_command_that_makes_one_is_shown() -> None:
    text = first_steps(DOOR, DataDirectory(Path("/data of mine")), None)

    assert "  export TOKEN=$(workflow-runner token --workspace demo --data-dir '/data of mine')\n" in text
    assert "  http://127.0.0.1:8080/signin\n" in text


def test_the_usual_data_directory_need_not_be_named() -> None:
    assert "$(workflow-runner token --workspace demo)\n" in first_steps(DOOR, DataDirectory(default_directory()), None)
