from __future__ import annotations

import json
import os
import stat
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from dagy.errors import SettingsError
from dagy.profiles import AwsTarget, Credentials, Profile, Profiles, checked_url

CONFIG = """\
version: 1
default_profile: production
owner: data team
profiles:
  staging:
    api_url: https://staging.example.com/
  production:
    api_url: https://dagy.example.com
    table_format: simple
    colour: red
    last_updated: 2026-01-31T14:25:00+00:00
  here: {}
"""

Config = Callable[[str], Path]


@pytest.fixture
def config(tmp_path: Path) -> Config:
    """Writes `config.yaml` into a local folder, and returns the folder."""

    def written(text: str) -> Path:
        folder = tmp_path / "local"
        folder.mkdir(mode=0o700, exist_ok=True)
        (folder / "config.yaml").write_text(text, "utf-8")
        return folder

    return written


def resolved(folder: Path, flag: str | None = None, **environment: str) -> Profile:
    return Profiles.read(folder).resolve(flag, environment)


# Where deployments go on AWS.

WITH_AWS = """\
profiles:
  production:
    aws:
      region: eu-central-1
      stack: data
"""


def test_without_a_section_and_a_variable_deployments_stay_off_aws(config: Config) -> None:
    assert resolved(config(CONFIG), AWS_REGION="eu-west-1").aws is None


def test_a_section_says_which_stack_and_region(config: Config) -> None:
    found = resolved(config(WITH_AWS), AWS_REGION="us-west-2").aws
    source = "profile 'production'"
    assert found == AwsTarget("data", "eu-central-1", sources={"region": source, "stack": source})


def test_the_region_of_the_environment_counts_where_the_section_names_none(config: Config) -> None:
    folder = config("profiles: {a: {aws: {}}}")
    found = resolved(folder, AWS_DEFAULT_REGION="us-west-2").aws
    assert found == AwsTarget("dagy", "us-west-2", sources={"region": "AWS_DEFAULT_REGION"})
    assert resolved(folder, AWS_DEFAULT_REGION="us-west-2", AWS_REGION="eu-west-1").aws == AwsTarget(
        "dagy", "eu-west-1", sources={"region": "AWS_REGION"}
    )


def test_the_variables_for_stack_and_bucket_come_before_the_section(config: Config) -> None:
    found = resolved(config(WITH_AWS), DAGY_AWS_STACK="test", DAGY_ARTIFACT_BUCKET="mine").aws
    assert found is not None
    assert (found.stack, found.region, found.bucket) == ("test", "eu-central-1", "mine")
    assert found.sources["stack"] == "DAGY_AWS_STACK"


def test_either_variable_alone_sends_deployments_to_aws(tmp_path: Path) -> None:
    assert resolved(tmp_path, DAGY_AWS_STACK="test").aws == AwsTarget("test", sources={"stack": "DAGY_AWS_STACK"})
    assert resolved(tmp_path, DAGY_ARTIFACT_BUCKET="mine").aws == AwsTarget(
        bucket="mine", sources={"bucket": "DAGY_ARTIFACT_BUCKET"}
    )


@pytest.mark.parametrize(
    ("section", "told"),
    [
        ("7", r"aws in .*line 1 is 7, and should hold region, stack, endpoint_url"),
        ("{regoin: x}", r"'regoin'; did you mean 'region'\?"),
        ("{region: Frankfurt}", "is 'Frankfurt', which is no region; one is such as eu-central-1"),
        ("{stack: my_stack}", "is 'my_stack'; a stack's name begins with a letter"),
        ("{stack: 7}", "is 7, and should be text"),
        ("{endpoint_url: nowhere}", "no address of http or https"),
    ],
)
def test_a_wrong_section_is_refused_with_what_is_wrong(config: Config, section: str, told: str) -> None:
    with pytest.raises(SettingsError, match=told):
        Profiles.read(config(f"profiles: {{a: {{aws: {section}}}}}"))


def test_a_wrong_stack_in_the_variable_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="DAGY_AWS_STACK is 'no_stack'"):
        resolved(tmp_path, DAGY_AWS_STACK="no_stack")


def test_credentials_of_aws_are_not_sent_over_plain_http_to_elsewhere(config: Config) -> None:
    folder = config("profiles: {a: {aws: {endpoint_url: 'http://aws.example.com'}}}")
    with pytest.raises(SettingsError, match=r"profiles\.a\.aws\.endpoint_url .*: what is sent over plain http"):
        resolved(folder)
    assert resolved(config("profiles: {a: {aws: {endpoint_url: 'http://127.0.0.1:5000'}}}")).aws is not None


def test_a_section_is_written_and_let_go_of(config: Config) -> None:
    profiles = Profiles.read(config(CONFIG))
    profiles.set("here", {"aws": {"region": "eu-central-1", "stack": "dagy"}})
    again = Profiles.read(profiles.path.parent)
    assert again["here"].aws is not None
    assert again["production"].aws is None
    again.set("here", {"aws": None})
    assert Profiles.read(profiles.path.parent)["here"].aws is None
    with pytest.raises(SettingsError, match="no region"):
        again.set("here", {"aws": {"region": "x"}})


# Which profile counts.


def test_without_a_file_everything_is_here_and_nothing_is_made(tmp_path: Path) -> None:
    found = resolved(tmp_path / "local")
    assert (found.name, found.api_url, found.is_local, found.table_format) == (None, None, True, "heavy_grid")
    assert not (tmp_path / "local").exists()


def test_the_flag_comes_before_the_variable_before_the_default_before_the_first_by_name(config: Config) -> None:
    folder = config(CONFIG)
    assert resolved(folder, "staging", DAGY_PROFILE="here").name == "staging"
    assert resolved(folder, DAGY_PROFILE="here").name == "here"
    assert resolved(folder).name == "production"
    assert resolved(config(CONFIG.replace("default_profile: production\n", ""))).name == "here"


def test_the_variable_comes_before_the_profiles_own_address(config: Config) -> None:
    folder = config(CONFIG)
    assert resolved(folder).api_url == "https://dagy.example.com"
    assert resolved(folder, DAGY_API_URL="https://other.example.com/").api_url == "https://other.example.com"
    assert resolved(folder, "here").api_url is None


def test_a_value_knows_where_it_came_from(config: Config) -> None:
    found = resolved(config(CONFIG), DAGY_API_URL="https://other.example.com", DAGY_PROFILE="production")
    assert dict(found.sources) == {
        "name": "DAGY_PROFILE",
        "api_url": "DAGY_API_URL",
        "app_url": "the default",
        "table_format": "profile 'production'",
    }


def test_an_unknown_profile_is_refused_with_the_nearest(config: Config) -> None:
    folder = config(CONFIG)
    with pytest.raises(SettingsError, match=r"no profile 'prodction' \(--profile\) in .*did you mean 'production'"):
        resolved(folder, "prodction")
    with pytest.raises(SettingsError, match=r"no profile 'x' \(DAGY_PROFILE\).*there are 'here', 'production'"):
        resolved(folder, DAGY_PROFILE="x")


# Addresses.


@pytest.mark.parametrize(
    "url",
    ["https://dagy.example.com", "https://dagy.example.com:8443/app/", "http://localhost:8000", "http://127.0.0.1",
     "http://[::1]:80"],
)  # fmt: skip
def test_an_address_that_a_token_may_go_to_is_right(url: str) -> None:
    assert checked_url(url, "api_url", {}) == url.rstrip("/")


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("file:///etc/passwd", "no address of http or https"),
        ("dagy.example.com", "no address of http or https"),
        ("https://", "no address of http or https"),
        ("https://a b", "holds what no address does"),
        ("https://a\n", "holds what no address does"),
        ("https://x:99999", "is no address"),
        ("https://[::1", "is no address"),
        ("https://x/?token=1", "leave out what stands from"),
        ("http://dagy.example.com", "can be read on the way; use https"),
        ("http://127.0.0.1.example.com", "use https"),
    ],
)
def test_an_address_that_is_none_is_refused_with_the_remedy(url: str, reason: str) -> None:
    with pytest.raises(SettingsError, match=reason):
        checked_url(url, "DAGY_API_URL", {})


def test_a_password_in_an_address_is_refused_and_not_shown() -> None:
    with pytest.raises(SettingsError, match="DAGY_API_URL holds a name or a password") as raised:
        checked_url("https://me:s3cret@example.com", "DAGY_API_URL", {})
    assert "s3cret" not in str(raised.value)


def test_plain_http_goes_elsewhere_only_when_told() -> None:
    assert checked_url("http://dagy.lan", "x", {"DAGY_ALLOW_HTTP": "1"}) == "http://dagy.lan"
    with pytest.raises(SettingsError, match="DAGY_ALLOW_HTTP is 'perhaps'"):
        checked_url("http://dagy.lan", "x", {"DAGY_ALLOW_HTTP": "perhaps"})


# A file that is not as it should be.


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("version: 2", r"version in .*config.yaml, line 1 is 2; this version of Dagy reads 1"),
        ("version: 1\nversion: 1", r"line 2: 'version' stands on line 1 already"),
        ("profiles:\n  a: {}\n  b: {}\n  a: {}", r"line 4: 'a' stands on line 2 already"),
        ("profiles:\n\ta: {}", r"line 2 is not plain YAML: .*cannot start any token"),
        ("a: [", "line 1 is not plain YAML"),
        ("- a", "should hold version, default_profile and profiles"),
        ("profiles: [a]", r"profiles in .*, line 1 is \['a'\]"),
        ("profiles:\n  a: x", r"profiles\.a in .*, line 2 is 'x'"),
        ("profiles:\n  a/b: {}", "can't be called 'a/b'"),
        ("profiles:\n  1: {}", "can't be called 1"),
        ("profiles:\n  a:\n    api_url: 7", r"profiles\.a\.api_url in .*, line 3 is 7, and should be text"),
        ("profiles:\n  a:\n    api_url: ftp://x", r"profiles\.a\.api_url in .*, line 3 is 'ftp://x'"),
        ("profiles:\n  a:\n    table_format: <b>", r"line 3 is '<b>'; it is the name of a format"),
        ("default_profile: a\nprofiles:\n  aa: {}", "line 1 is 'a', which is no profile"),
        ("x: !!python/object/apply:os.system ['true']", "line 1 is not plain YAML: could not determine a constructor"),
        ("a: &x 1\nb: *x", "line 1: names such as '&x'"),
        ("a: " + "[" * 20 + "]" * 20, "deeper than 16 levels"),
        ("a: " + "[" * 100_000, "deeper than 16 levels"),
        ("a: 2026-99-99", "is not plain YAML"),
        ("a: \x00", "is not plain YAML"),
        ("{a: 1}: b", "is not plain YAML"),
        ("#" * 300_000, "is larger than 256 kB"),
    ],
)
def test_a_file_that_is_wrong_is_refused_with_its_line(config: Config, text: str, reason: str) -> None:
    with pytest.raises(SettingsError, match=reason):
        Profiles.read(config(text))


def test_a_file_that_is_not_text_is_refused(config: Config) -> None:
    folder = config("")
    (folder / "config.yaml").write_bytes(b"a: \xff\xfe")
    with pytest.raises(SettingsError, match="is not text in UTF-8"):
        Profiles.read(folder)


def test_what_is_no_file_is_refused_and_never_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "config.yaml")
    with pytest.raises(SettingsError, match="is not a file"):
        Profiles.read(tmp_path)
    (tmp_path / "config.yaml").unlink()
    (tmp_path / "config.yaml").mkdir()
    with pytest.raises(SettingsError, match="is not a file"):
        Profiles.read(tmp_path)


@pytest.mark.parametrize("text", ["", "\n", "# nothing yet\n", "version: 1", "profiles:", "\ufeffversion: 1"])
def test_a_file_without_profiles_is_no_mistake(config: Config, text: str) -> None:
    assert Profiles.read(config(text)).names == ()


# Changing it.


def test_a_profile_is_made_and_changed_and_what_is_unknown_stays(config: Config) -> None:
    folder = config(CONFIG)
    Profiles.read(folder).set("production", {"api_url": "https://new.example.com", "table_format": None})
    Profiles.read(folder).set("next", {"api_url": "https://next.example.com"})
    data = yaml.safe_load((folder / "config.yaml").read_text())
    assert data["owner"] == "data team"
    assert data["profiles"]["production"].pop("last_updated") > "2026-01-31"
    assert data["profiles"]["production"] == {"api_url": "https://new.example.com", "colour": "red"}
    assert Profiles.read(folder).names == ("here", "next", "production", "staging")
    assert stat.S_IMODE((folder / "config.yaml").stat().st_mode) == 0o600


def test_a_deleted_profile_is_no_default_any_more(config: Config) -> None:
    folder = config(CONFIG)
    Profiles.read(folder).delete("production")
    assert Profiles.read(folder).default is None
    with pytest.raises(SettingsError, match="no profile 'production'"):
        Profiles.read(folder).set_default("production")


@pytest.mark.parametrize(
    ("name", "values"),
    [("", {}), ("a b", {}), ("../x", {}), ("x" * 65, {}), ("a", {"api_url": "x"}), ("a", {"api_ulr": "https://x"})],
)
def test_nothing_is_written_of_what_could_not_be_read(tmp_path: Path, name: str, values: dict[str, str]) -> None:
    with pytest.raises(SettingsError):
        Profiles.read(tmp_path).set(name, values)
    assert not (tmp_path / "config.yaml").exists()


def test_a_file_that_is_a_link_stays_one(config: Config, tmp_path: Path) -> None:
    folder = config(CONFIG)
    (folder / "config.yaml").rename(tmp_path / "dotfile")
    (folder / "config.yaml").symlink_to(tmp_path / "dotfile")
    Profiles.read(folder).set_default("staging")
    assert (folder / "config.yaml").is_symlink()
    assert "default_profile: staging" in (tmp_path / "dotfile").read_text()


def test_of_two_who_change_it_at_once_neither_loses(tmp_path: Path) -> None:
    stale = [Profiles.read(tmp_path) for _ in range(8)]
    threads = [
        threading.Thread(target=each.set, args=(f"p{number}", {"api_url": "https://x.example"}))
        for number, each in enumerate(stale)
    ]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert Profiles.read(tmp_path).names == tuple(f"p{number}" for number in range(8))


# Tokens.

SOME = Profile("production", "https://dagy.example.com")


def test_a_token_is_kept_for_its_profile_and_the_address_it_was_given_for(tmp_path: Path) -> None:
    Credentials(tmp_path).save(SOME, "dagy_at_1")
    found = Credentials(tmp_path).token(SOME, {})
    assert found is not None
    assert (found.secret, found.source) == ("dagy_at_1", str(tmp_path / "credentials"))
    assert "dagy_at_1" not in repr(found)
    assert Credentials(tmp_path).token(Profile("production", "https://evil.example.com"), {}) is None
    assert Credentials(tmp_path).token(Profile("staging", SOME.api_url), {}) is None
    assert Credentials(tmp_path).token(Profile(), {}) is None


def test_the_variable_comes_before_what_is_kept(tmp_path: Path) -> None:
    Credentials(tmp_path).save(SOME, "dagy_at_1")
    found = Credentials(tmp_path).token(SOME, {"DAGY_API_KEY": "dagy_sk_2"})
    assert found is not None
    assert (found.secret, found.source) == ("dagy_sk_2", "DAGY_API_KEY")


def test_a_forgotten_token_is_gone_and_the_others_stay(tmp_path: Path) -> None:
    kept = Credentials(tmp_path)
    kept.save(SOME, "one")
    kept.save(Profile("staging", SOME.api_url), "two")
    assert kept.forget(SOME) is True
    assert kept.forget(SOME) is False
    assert kept.token(SOME, {}) is None
    assert kept.token(Profile("staging", SOME.api_url), {}) is not None
    assert Credentials(tmp_path / "none").forget(SOME) is False


@pytest.mark.parametrize("secret", ["", "two words", "line\nend", "ü", "x" * 8193])
def test_what_can_not_stand_in_a_header_is_no_token_and_is_not_shown(tmp_path: Path, secret: str) -> None:
    with pytest.raises(SettingsError, match="the token is not one") as raised:
        Credentials(tmp_path).save(SOME, secret)
    assert not secret or secret not in str(raised.value)
    if secret:
        with pytest.raises(SettingsError, match="DAGY_API_KEY is not one"):
            Credentials(tmp_path).token(SOME, {"DAGY_API_KEY": secret})


def test_tokens_are_for_their_owners_eyes_from_the_first_moment(tmp_path: Path) -> None:
    before = os.umask(0)  # which would let everybody do everything
    try:
        Credentials(tmp_path / "local").save(SOME, "one")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "local").stat().st_mode) == 0o700
    assert stat.S_IMODE((tmp_path / "local/credentials").stat().st_mode) == 0o600
    assert [each.name for each in (tmp_path / "local").iterdir()] == ["credentials"]


@pytest.mark.parametrize("mode", [0o666, 0o644, 0o640, 0o602])
def test_tokens_that_others_could_read_are_refused_with_the_remedy(tmp_path: Path, mode: int) -> None:
    kept = Credentials(tmp_path)
    kept.save(SOME, "one")
    kept.path.chmod(mode)
    for use in (lambda: kept.token(SOME, {}), lambda: kept.save(SOME, "two"), lambda: kept.forget(SOME)):
        with pytest.raises(SettingsError, match=f"mode {mode:04o}.*chmod 600"):
            use()


def test_a_link_in_the_place_of_tokens_is_refused(tmp_path: Path) -> None:
    other = tmp_path / "elsewhere"
    other.write_text("{}")
    (tmp_path / "credentials").symlink_to(other)
    for use in (lambda: Credentials(tmp_path).token(SOME, {}), lambda: Credentials(tmp_path).save(SOME, "one")):
        with pytest.raises(SettingsError, match="is a link to another file"):
            use()
    assert other.read_text() == "{}"


def test_a_folder_that_others_can_write_into_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "local"
    folder.mkdir()
    folder.chmod(0o777)
    with pytest.raises(SettingsError, match="chmod 700"):
        Credentials(folder).save(SOME, "one")
    assert list(folder.iterdir()) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_a_file_of_somebody_else_is_refused(tmp_path: Path) -> None:
    kept = Credentials(tmp_path)
    kept.save(SOME, "one")
    os.chown(kept.path, 12345, 12345)
    with pytest.raises(SettingsError, match=r"belongs to somebody else \(user 12345\)"):
        kept.token(SOME, {})


@pytest.mark.parametrize(
    "text",
    ["", "s3cret", "[]", "{}", '{"tokens": [{"token": "s3cret"}]}', '{"tokens": {"a": "s3cret"}}', "[" * 100_000,
     json.dumps({"version": 2, "tokens": []}),
     json.dumps({"version": 1, "tokens": [{"profile": "a", "api_url": "b", "token": "s3cret\r\nX: y"}]})],
)  # fmt: skip
def test_damaged_tokens_are_refused_and_not_shown(tmp_path: Path, text: str) -> None:
    path = tmp_path / "credentials"
    path.write_text(text)
    path.chmod(0o600)
    with pytest.raises(SettingsError, match="sign in again: dagy login") as raised:
        Credentials(tmp_path).token(SOME, {})
    assert "s3cret" not in str(raised.value)
