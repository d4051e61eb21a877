"""Profiles and tokens from the command line, and what is said when they are wrong."""

from __future__ import annotations

import io
import stat
import sys
from pathlib import Path

import pytest
import yaml

from dagy.cli.app import ExitCode
from dagy.profiles import Credentials, Profiles

from .conftest import Dagy, as_json

URL = "https://dagy.example.com"


def written(local_dir: Path) -> dict[str, object]:
    found = yaml.safe_load((local_dir / "config.yaml").read_text())
    assert isinstance(found, dict)
    return found


def test_a_profile_is_made_changed_chosen_and_deleted(dagy: Dagy, local_dir: Path) -> None:
    code, out, err = dagy("config", "set", "production", "--api-url", URL, "--default")
    assert (code, out, err) == (ExitCode.SUCCESS, f"made profile 'production' in {local_dir}/config.yaml\n", "")
    assert dagy("config", "set", "production", "--table-format", "github")[1].startswith("changed profile 'production'")
    dagy("config", "set", "staging", "--api-url", f"{URL}/staging/")
    assert written(local_dir)["default_profile"] == "production"
    dagy("config", "use", "staging")
    found = as_json(dagy("config", "show", "--format", "json")[1])
    assert found["default_profile"] == "staging"
    assert found["profiles"]["production"]["table_format"] == "github"
    assert found["counts"]["api_url"] == f"{URL}/staging"
    dagy("config", "delete", "staging")
    assert Profiles.read(local_dir).names == ("production",)
    assert dagy("config", "path")[1] == f"{local_dir}/config.yaml\n"


def test_an_empty_value_is_taken_out(dagy: Dagy, local_dir: Path) -> None:
    dagy("config", "set", "a", "--api-url", URL, "--table-format", "github")
    dagy("config", "set", "a", "--api-url", "")
    assert (Profiles.read(local_dir)["a"].api_url, Profiles.read(local_dir)["a"].table_format) == (None, "github")


def test_what_counts_is_shown_with_where_it_came_from(dagy: Dagy, monkeypatch: pytest.MonkeyPatch) -> None:
    dagy("config", "set", "a")
    dagy("config", "set", "b", "--api-url", URL)
    monkeypatch.setenv("DAGY_PROFILE", "b")
    assert f"api_url       {URL} (profile 'b')\n" in dagy("config", "show")[1]
    assert "profile       a (--profile)\n" in dagy("config", "show", "--profile", "a")[1]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["set", "a b"], "can't be called 'a b'"),
        (["set", "a", "--api-url", "file:///etc/passwd"], "--api-url is 'file:///etc/passwd'"),
        (["set", "a", "--api-url", "http://elsewhere.example"], "use https"),
        (["set", "a", "--api-url", "https://me:s3cret@x"], "holds a name or a password"),
        (["set", "a", "--table-format", "fancy"], "no table has the format 'fancy'"),
        (["use", "nope"], "there is no profile 'nope'"),
        (["delete", "nope"], "there is no profile 'nope'"),
    ],
)
def test_what_no_profile_can_be_is_refused(dagy: Dagy, local_dir: Path, words: list[str], message: str) -> None:
    code, out, err = dagy("config", *words)
    assert (code, out) == (ExitCode.USAGE, "")
    assert message in err
    assert "s3cret" not in err
    assert not (local_dir / "config.yaml").exists()


def test_questions_need_somebody_to_answer(dagy: Dagy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO())
    code, _, err = dagy("config")
    assert (code, "in a script use `dagy config set|use" in err) == (ExitCode.USAGE, True)


def answer(monkeypatch: pytest.MonkeyPatch, *lines: str) -> None:
    """Let somebody at a terminal type these lines."""
    stdin = io.StringIO("".join(f"{line}\n" for line in lines))
    monkeypatch.setattr(stdin, "isatty", lambda: True)
    monkeypatch.setattr(sys, "stdin", stdin)


def test_the_questions_make_change_choose_and_delete_profiles(
    dagy: Dagy, local_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer(monkeypatch, "create", "production", URL, "", "create", "here", "", "github", "y", "done")
    code, out, err = dagy("config")
    assert (code, out) == (ExitCode.SUCCESS, "")
    assert "production (default): https://dagy.example.com" in err
    found = Profiles.read(local_dir)
    assert (found.default, found["production"].api_url, found["here"].api_url) == ("here", URL, None)
    assert found["here"].table_format == "github"
    answer(monkeypatch, "default", "production", "edit", "here", "ftp://x", "", "delete", "here", "y", "")
    code, _, err = dagy("config")
    assert (code, "'ftp://x'" in err) == (ExitCode.SUCCESS, True)
    assert (Profiles.read(local_dir).names, Profiles.read(local_dir).default) == (("production",), "production")


# Tokens.


@pytest.fixture
def production(dagy: Dagy) -> str:
    """The name of a profile of a control plane elsewhere."""
    dagy("config", "set", "production", "--api-url", URL)
    return "production"


def test_a_token_is_read_from_standard_input_and_kept_for_its_owner(
    production: str, dagy: Dagy, local_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("dagy_at_s3cret\n"))
    code, out, err = dagy("login", "--profile", production, "--token", "-")
    assert (code, out, err) == (ExitCode.SUCCESS, f"kept a token for {URL} (profile 'production')\n", "")
    assert stat.S_IMODE((local_dir / "credentials").stat().st_mode) == 0o600
    profile = Profiles.read(local_dir).resolve(production, {})
    found = Credentials(local_dir).token(profile, {})
    assert found is not None
    assert found.secret == "dagy_at_s3cret"
    assert "s3cret" not in "".join(map(str, dagy("config", "show")))
    assert dagy("logout")[1] == "let go of the token for profile 'production'\n"
    assert dagy("logout")[1] == "there was no token for profile 'production'\n"


@pytest.mark.parametrize(
    ("words", "stdin", "code", "message"),
    [
        (["--token", "s3cret"], "", ExitCode.USAGE, "can be seen by others; give --token -"),
        ([], "", ExitCode.USAGE, "nobody can be asked for the token"),
        (["--token", "-"], "\n", ExitCode.AUTH, "no token was given"),
        (["--token", "-"], "s3cret words\n", ExitCode.USAGE, "the token is not one"),
    ],
)
def test_what_is_no_token_is_refused_and_not_shown(
    production: str, dagy: Dagy, local_dir: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], stdin: str,
    code: ExitCode, message: str,
) -> None:  # fmt: skip
    monkeypatch.setattr("sys.stdin", io.StringIO(stdin))
    found, out, err = dagy("login", *words)
    assert (found, out) == (code, "")
    assert message in err
    assert "s3cret" not in err
    assert not (local_dir / "credentials").exists()


def test_without_a_control_plane_elsewhere_there_is_nothing_to_sign_in_to(dagy: Dagy) -> None:
    code, _, err = dagy("login", "--token", "-")
    assert (code, "everything is on this machine" in err) == (ExitCode.USAGE, True)


def test_a_profile_that_is_deleted_leaves_no_token_behind(
    workplace: Path, local_dir: Path, dagy: Dagy, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("production", "staging"):
        dagy("config", "set", name, "--api-url", f"https://{name}.example.com")
        monkeypatch.setattr(sys, "stdin", io.StringIO(f"dagy_sk_of_{name}"))
        dagy("login", "--profile", name, "--token", "-")
    dagy("config", "delete", "production")
    kept = (local_dir / "credentials").read_text()
    assert ("dagy_sk_of_production" in kept, "dagy_sk_of_staging" in kept) == (False, True)


def test_after_a_logout_a_variable_that_still_counts_is_told(
    production: str, dagy: Dagy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DAGY_API_KEY", "dagy_sk_1")
    assert "DAGY_API_KEY is set" in dagy("logout")[2]


@pytest.mark.parametrize("mode", [0o666, 0o640])
def test_tokens_that_others_can_read_stop_every_command_that_needs_them(
    production: str, dagy: Dagy, local_dir: Path, monkeypatch: pytest.MonkeyPatch, mode: int
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("one\n"))
    dagy("login", "--token", "-")
    (local_dir / "credentials").chmod(mode)
    for words in (["logout"], ["flows", "list"], ["runs", "list"]):
        code, out, err = dagy(*words)
        assert (code, out) == (ExitCode.USAGE, "")
        assert "chmod 600" in err
    code, out, _ = dagy("doctor")
    assert (code, "chmod 600" in out) == (ExitCode.GENERAL, True)
    assert (local_dir / "credentials").stat().st_mode & 0o777 == mode


def test_a_profile_that_is_wrong_does_not_stop_what_needs_none(workplace: Path, dagy: Dagy, local_dir: Path) -> None:
    local_dir.mkdir()
    (local_dir / "config.yaml").write_text("profiles: [")
    assert dagy("run", "my_flows.py", "--param", "url=x")[0] is ExitCode.SUCCESS
    assert dagy("draw", "my_flows.py")[0] is ExitCode.SUCCESS
    code, _, err = dagy("flows", "list")
    assert (code, "config.yaml, line 1 is not plain YAML" in err) == (ExitCode.USAGE, True)


def test_the_database_that_counts_is_told_without_its_password(
    workplace: Path, dagy: Dagy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DAGY_DATABASE_URL", "postgresql://me:s3cret@db.example.com:5432/team")
    code, out, err = dagy("config", "show")
    assert (code, err) == (ExitCode.SUCCESS, "")
    assert "team on db.example.com (DAGY_DATABASE_URL)" in out
    assert "s3cret" not in out
