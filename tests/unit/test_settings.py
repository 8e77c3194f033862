from collections.abc import Mapping
from pathlib import Path

import pytest

from holdfast.settings import Settings, SettingsError, load

NOWHERE = Path("/nonexistent")


def read(
    environ: Mapping[str, str] | None = None, options: Mapping[str, str] | None = None, folder: Path = NOWHERE
) -> Settings:
    return load(options or {}, environ or {}, folder)


def refused(
    environ: Mapping[str, str] | None = None, options: Mapping[str, str] | None = None, folder: Path = NOWHERE
) -> str:
    with pytest.raises(SettingsError) as error:
        read(environ, options, folder)
    return str(error.value)


def in_file(folder: Path, text: str) -> Path:
    (folder / "holdfast.toml").write_text(text)
    return folder


def printed(settings: Settings) -> dict[str, tuple[str, str]]:
    return {key: (value, origin) for key, value, origin in settings.printed()}


def test_without_any_word_it_is_the_embedded_profile() -> None:
    settings = read()

    assert settings == Settings()
    assert settings.profile == "embedded"
    assert printed(settings)["HOLDFAST_STORE"] == ("sqlite:///.holdfast/holdfast.db", "default")


def test_an_option_counts_before_the_environment_and_that_before_the_file(tmp_path: Path) -> None:
    folder = in_file(
        tmp_path, '[holdfast]\nnamespace = "a"\nlog = "kafka://a:1"\nstore = "postgresql://a/x"\nshards = 8\n'
    )

    settings = read(
        {"HOLDFAST_LOG": "kafka://b:1", "HOLDFAST_STORE": "postgresql://b/x"}, {"store": "postgresql://c/x"}, folder
    )

    assert (settings.namespace, settings.log, settings.store) == ("a", "kafka://b:1", "postgresql://c/x")
    assert settings.shards == 8
    assert settings.profile == "cluster"
    rows = printed(settings)
    assert rows["HOLDFAST_NAMESPACE"] == ("a", "holdfast.toml")
    assert rows["HOLDFAST_LOG"] == ("kafka://b:1", "environment")
    assert rows["HOLDFAST_STORE"] == ("postgresql://c/x", "option")
    assert rows["HOLDFAST_KEYS"] == ("memory", "default")


def test_the_file_takes_the_keys_of_the_environment_too(tmp_path: Path) -> None:
    assert read(folder=in_file(tmp_path, '[holdfast]\nHOLDFAST_NAMESPACE = "shop"\n')).namespace == "shop"


def test_options_for_kafka_are_passed_on_under_kafkas_names() -> None:
    settings = read({"HOLDFAST_KAFKA_SECURITY_PROTOCOL": "SASL_SSL", "HOLDFAST_KAFKA_SASL_PLAIN_PASSWORD": "geheim"})

    assert settings.kafka == {"security_protocol": "SASL_SSL", "sasl_plain_password": "geheim"}
    assert printed(settings)["HOLDFAST_KAFKA_SASL_PLAIN_PASSWORD"] == ("***", "environment")


def test_named_databases_stand_in_the_file(tmp_path: Path) -> None:
    settings = read(folder=in_file(tmp_path, '[databases]\nshop = "postgresql://u:geheim@h/shop"\n'))

    assert settings.databases == {"shop": "postgresql://u:geheim@h/shop"}
    assert printed(settings)["databases.shop"] == ("postgresql://u:***@h/shop", "holdfast.toml")


def test_a_named_database_of_the_environment_counts_before_the_files(tmp_path: Path) -> None:
    folder = in_file(tmp_path, '[databases]\nshop = "postgresql://file/shop"\nold_shop = "sqlite:///old.db"\n')

    settings = read({"HOLDFAST_DATABASES_SHOP": "postgresql://u:geheim@h/shop"}, folder=folder)

    assert settings.databases == {"shop": "postgresql://u:geheim@h/shop", "old_shop": "sqlite:///old.db"}
    assert printed(settings)["databases.shop"] == ("postgresql://u:***@h/shop", "environment")
    assert printed(settings)["databases.old_shop"] == ("sqlite:///old.db", "holdfast.toml")


def test_a_mistake_in_a_database_is_one_sentence(tmp_path: Path) -> None:
    assert refused({"HOLDFAST_DATABASES_SHOP": "mysql://u:geheim@h/x"}) == (
        "HOLDFAST_DATABASES_SHOP (environment) is 'mysql://u:***@h/x': postgresql://… or sqlite:///path is allowed"
    )
    assert "small letters, digits and _" in refused({"HOLDFAST_DATABASES_": "sqlite:///x"})
    assert refused(folder=in_file(tmp_path, '[databases]\nMy-Shop = "sqlite:///x"\n')).startswith(
        "databases.My-Shop (holdfast.toml) names no database: "
    )


@pytest.mark.parametrize(
    ("key", "value", "shown"),
    [
        (
            "HOLDFAST_STORE",
            "postgresql://u:ge@heim@h/x?sslpassword=geheim&a=b",
            "postgresql://u:***@h/x?sslpassword=***&a=b",
        ),
        ("HOLDFAST_KEYS", "redis://:geheim@h:1/0", "redis://:***@h:1/0"),
        ("HOLDFAST_KEYS", "redis://h:1/0", "redis://h:1/0"),
        ("HOLDFAST_SCHEMA_REGISTRY", "https://u:geheim@h", "https://u:***@h"),
    ],
)
def test_a_secret_is_never_printed(key: str, value: str, shown: str) -> None:
    assert printed(read({key: value}))[key] == (shown, "environment")


@pytest.mark.parametrize(
    ("key", "value", "allowed"),
    [
        ("HOLDFAST_NAMESPACE", "my shop", "letters, digits, - and _"),
        ("HOLDFAST_NAMESPACE", "pg_shop", "not pg_"),
        ("HOLDFAST_NAMESPACE", "a.b", "letters, digits, - and _"),
        ("HOLDFAST_NAMESPACE", "a" * 64, "1 to 63"),
        ("HOLDFAST_STORE", "mysql://h/x", "sqlite:///path or postgresql://…"),
        ("HOLDFAST_STORE", "sqlite:///", "sqlite:///path"),
        ("HOLDFAST_LOG", "kafka://host", "kafka://host:port[,host:port]"),
        ("HOLDFAST_LOG", "kafka://host:1,", "kafka://host:port[,host:port]"),
        ("HOLDFAST_LOG", "memory", "embedded or kafka://"),
        ("HOLDFAST_KEYS", "memcached://h", "memory or redis://…"),
        ("HOLDFAST_SHARDS", "0", "a whole number from 1 on"),
        ("HOLDFAST_SHARDS", "many", "a whole number from 1 on"),
        ("HOLDFAST_INSTANCE", "one two", "a name of letters"),
        ("HOLDFAST_HEALTH", "8080", "host:port"),
        ("HOLDFAST_HEALTH", "127.0.0.1:70000", "host:port"),
        ("HOLDFAST_SCHEMA_REGISTRY", "h:8081", "http://… or https://…"),
        ("HOLDFAST_KAFKA_SECURITY_PROTOCOL", "TLS", "one of PLAINTEXT, SSL"),
    ],
)
def test_a_mistake_names_key_origin_value_and_what_is_allowed(key: str, value: str, allowed: str) -> None:
    said = refused({key: value})

    assert said.startswith(f"{key} (environment) is {value!r}: ")
    assert allowed in said
    assert "\n" not in said


def test_a_mistake_in_an_option_or_the_file_is_told_as_it_is_written_there(tmp_path: Path) -> None:
    assert refused(options={"schema_registry": "x"}).startswith("--schema-registry (option) is 'x'")
    assert refused(folder=in_file(tmp_path, "[holdfast]\nshards = 0\n")).startswith("shards (holdfast.toml) is '0'")
    assert "is True: a text or a whole number" in refused(folder=in_file(tmp_path, "[holdfast]\nshards = true\n"))


def test_a_mistake_never_tells_a_secret() -> None:
    assert "geheim" not in refused({"HOLDFAST_STORE": "mysql://u:geheim@h/x"})


@pytest.mark.parametrize(
    ("key", "nearest"),
    [
        ("HOLDFAST_STOR", "HOLDFAST_STORE"),
        ("HOLDFAST_NAME_SPACE", "HOLDFAST_NAMESPACE"),
        ("HOLDFAST_KAFKA_PROTOCOL", "HOLDFAST_KAFKA_SECURITY_PROTOCOL"),
    ],
)
def test_an_unknown_key_is_told_with_the_nearest_known_one(key: str, nearest: str) -> None:
    assert refused({key: "x"}) == f"{key} (environment) is no setting of Holdfast; the nearest is {nearest}"


def test_an_unknown_key_or_table_of_the_file_is_a_mistake_too(tmp_path: Path) -> None:
    assert "the nearest is store" in refused(folder=in_file(tmp_path, '[holdfast]\nstroe = "x"\n'))
    assert "[holdfast] and [databases]" in refused(folder=in_file(tmp_path, '[holdfst]\nstore = "x"\n'))


def test_a_file_that_is_no_toml_is_told_with_its_place(tmp_path: Path) -> None:
    said = refused(folder=in_file(tmp_path, "[holdfast\n"))

    assert str(tmp_path / "holdfast.toml") in said
    assert "line 1" in said


def test_variables_of_deploy_and_of_the_tests_are_none_of_ours() -> None:
    assert read({"HOLDFAST_LOCAL": "x", "HOLDFAST_TEST_SERVERS": "y", "HOLDFAST_APP": "a.py", "PATH": "/bin"}) == read()


def test_an_empty_variable_is_one_that_is_not_set() -> None:
    assert read({"HOLDFAST_INSTANCE": ""}).instance is None


@pytest.mark.parametrize(
    ("key", "value", "missing"),
    [
        ("HOLDFAST_LOG", "kafka://h:1", "HOLDFAST_STORE=postgresql://"),
        ("HOLDFAST_STORE", "postgresql://u:geheim@h/x", "HOLDFAST_LOG=kafka://"),
    ],
)
def test_a_store_of_one_profile_and_a_log_of_the_other_do_not_go_together(key: str, value: str, missing: str) -> None:
    with pytest.raises(SettingsError, match=missing) as error:
        _ = read({key: value}).profile

    assert "geheim" not in str(error.value)
