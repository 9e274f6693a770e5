"""A home's instance: what of it is kept, what is deleted with it, and what never is."""

from __future__ import annotations

import hashlib
import os
import shutil
from pathlib import Path

import dagster as dg
import pytest

from pricing_platform.errors import PlatformError
from pricing_platform.instance import (
    IN_PROCESS,
    delete_home,
    only_build,
    open_instance,
    prepare_instance,
)
from pricing_platform.settings import Settings

MADE = ("checkpoints", "cache", "reports", "dagster")


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """A home in which the platform has built something."""
    home = tmp_path / "home"
    for name in MADE:
        (home / name / "deep").mkdir(parents=True)
        (home / name / "deep" / "file").touch()
    (home / "warehouse.duckdb").touch()
    (home / "warehouse.duckdb.wal").touch()
    return Settings(home=home)


def test_a_home_is_deleted_whole(settings: Settings) -> None:
    assert delete_home(settings) == []
    assert not settings.home_folder.exists()
    assert delete_home(settings) == []


def test_what_the_platform_did_not_make_is_left(settings: Settings) -> None:
    home = settings.home_folder
    (home / "src").mkdir()
    (home / "src" / "work.py").touch()
    (home / ".env").touch()
    (home / "postgres").mkdir()  # somebody's own: none of our lock files is in it
    (home / "postgres" / "schema.sql").touch()
    assert delete_home(settings) == [home / ".env", home / "postgres", home / "src"]
    assert (home / "src" / "work.py").exists()
    assert (home / "postgres" / "schema.sql").exists()


def test_a_link_is_deleted_and_not_what_it_points_at(settings: Settings, tmp_path: Path) -> None:
    elsewhere = tmp_path / "large disk"
    shutil.move(settings.cache_folder, elsewhere)
    settings.cache_folder.symlink_to(elsewhere)
    delete_home(settings)
    assert not settings.home_folder.exists()
    assert (elsewhere / "deep" / "file").exists()


@pytest.mark.parametrize("name", [*MADE, "postgres"])
def test_a_folder_that_only_looks_like_a_home_is_left_alone(tmp_path: Path, name: str) -> None:
    (tmp_path / name).mkdir()
    (tmp_path / name / "own.txt").touch()
    (tmp_path / name / "dagster.yaml").write_text("storage: {}\n")
    with pytest.raises(PlatformError, match="nothing that the platform made"):
        delete_home(Settings(home=tmp_path))
    assert (tmp_path / name / "own.txt").exists()


def test_a_home_in_which_only_dagster_was_prepared_is_deleted(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path / "home")
    prepare_instance(settings)
    assert delete_home(settings) == []
    assert not settings.home_folder.exists()


def test_a_home_has_one_build_at_a_time(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path / "home")
    with open_instance(settings) as instance:
        with (
            only_build(settings, instance),
            pytest.raises(PlatformError, match=f"goes on, as process {os.getpid()}"),
            only_build(settings, instance),
        ):
            pass
        with only_build(settings, instance):
            pass


def test_runs_of_a_killed_build_are_ended_and_no_others(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path / "home")
    with open_instance(settings) as instance:
        started = dg.DagsterRunStatus.STARTED
        abandoned = instance.create_run_for_job(_nothing, status=started, tags=IN_PROCESS)
        another = instance.create_run_for_job(_nothing, status=started)
        with only_build(settings, instance):
            statuses = [
                run.status
                for made in (abandoned, another)
                if (run := instance.get_run_by_id(made.run_id))
            ]
    assert statuses == [dg.DagsterRunStatus.FAILURE, started]


@dg.job
def _nothing() -> None:
    pass


def test_what_a_user_changed_in_the_instances_configuration_is_kept(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path)
    file = prepare_instance(settings) / "dagster.yaml"
    shipped = file.read_text(encoding="utf-8")
    own = shipped.replace("purge_after_days: 90", "purge_after_days: 5")
    file.write_text(own, encoding="utf-8")
    with open_instance(settings) as instance:
        assert instance.get_settings("retention")["schedule"]["purge_after_days"] == 5
    assert file.read_text(encoding="utf-8") == own
    file.unlink()
    prepare_instance(settings)
    assert file.read_text(encoding="utf-8") == shipped


def test_a_configuration_that_nobody_changed_follows_what_is_shipped(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path)
    folder = prepare_instance(settings)
    earlier = "telemetry:\n  enabled: false\n"
    (folder / "dagster.yaml").write_text(earlier, encoding="utf-8")
    (folder / ".dagster.yaml.sha256").write_text(hashlib.sha256(earlier.encode()).hexdigest())
    prepare_instance(settings)
    assert "run_monitoring" in (folder / "dagster.yaml").read_text(encoding="utf-8")
