"""Clusters of other machines, as real schedulers and workers in processes that have nothing of ours."""

import gc
import json
import os
import shutil
import signal
import socket
import textwrap
import time
import urllib.request
from pathlib import Path

import distributed
import psutil
import pytest
from dask import delayed

from bare_cluster import ENVIRONMENT, PACKAGES, bare_cluster
from certificates import Authority
from pipeline import config
from pipeline.compute.choose import Choice
from pipeline.compute.scheduler import start
from pipeline.compute.site import HOST, Site, site_of
from pipeline.compute.source import PACKAGE
from pipeline.errors import ConfigError, ExitCode, TemporaryError
from pipeline.events import AccountMarked, Note, StageProgress
from pipeline.modes import Kind
from pipeline.run import run
from signal_cases import write_strategy

pytestmark = pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")  # of a connection that was cut
ROOT = Path(__file__).resolve().parents[1]
SLOW = """
    import time


    def signal(bars, *, seconds: float = 0.3):
        time.sleep(seconds)
        return (bars["close"] > bars["close"].rolling(20).mean()).astype(float)
"""


@pytest.fixture(autouse=True)
def collected():
    """Find what is left of connections that were cut here, and not in another test, where it would be an error."""
    yield
    gc.collect()


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """One folder for store and runs, so that the sample is ingested once, and a strategy that takes its time."""
    folder = tmp_path_factory.mktemp("clusters")
    write_strategy(folder, "slow", SLOW)
    run(options_of(folder, "scheduler.kind=synchronous", "strategy.params.seconds=0"))
    return folder


def options_of(place: Path, *overrides: str) -> config.Options:
    own = [f"data.store={place}/store", f"output.dir={place}/runs", "output.report=false", "scheduler.timeout=20"]
    own.append(f"strategy={{name: {place}/slow.py, params: {{seconds: 0.3}}}}")
    stated = dict(override.split("=", 1) for override in [*own, *overrides])
    return config.load(ROOT / "conf" / "sample.yaml", [f"{name}={value}" for name, value in stated.items()], {})


def on(cluster, place: Path, *overrides: str) -> config.Options:
    """Return the options of a run on a cluster, with a certificate of its authority."""
    return options_of(place, f"scheduler.address={cluster.address}", *cluster.tls(), *overrides)


def test_a_cluster_that_has_nothing_of_ours_gives_the_same_result(place, tmp_path):
    """Package and strategy are shipped over TLS; one worker is killed mid-run, one comes late, the other is killed."""
    here = run(options_of(place, "scheduler.kind=synchronous"))
    with bare_cluster(tmp_path) as cluster:
        workers = [cluster.worker(), cluster.worker()]
        seen = {}

        def listen(event):
            match event:
                case StageProgress(stage="signals", done=1):
                    workers[0].kill()
                    workers.append(cluster.worker())
                    workers[1].kill()
                case Note(text=text) if text.startswith("dashboard: "):
                    seen["link"] = text.removeprefix("dashboard: ")
                case AccountMarked():
                    seen["page"] = urllib.request.urlopen(f"{seen['link']}.json", timeout=10).read()

        there = run(on(cluster, place), listen)

    assert there.result_digest == here.result_digest
    assert there.warnings  # one, or two if the second was at something
    assert all(each.startswith("scheduler distributed: a worker died, often for want of") for each in there.warnings)
    assert there.scheduler["kind"] == "distributed"
    assert [worker["threads"] for worker in json.loads(seen["page"])["workers"]] == [1]
    assert [each["state"] for each in json.loads(seen["page"])["runs"]] == ["running"]


def test_a_module_beside_the_strategy_travels_with_it(place, tmp_path):
    """Workers get its text: they need not see the folder that the strategy is in."""
    write_strategy(tmp_path, "neighbour", "LENGTH = 20")
    write_strategy(tmp_path, "asking", "from neighbour import LENGTH\n" + textwrap.dedent(SLOW).replace("20", "LENGTH"))
    own = ["output.report=false", f"strategy={{name: {tmp_path}/asking.py, params: {{seconds: 0.0}}}}"]
    here = run(options_of(place, "scheduler.kind=synchronous", *own))
    with bare_cluster(tmp_path, workers=1) as cluster:

        def listen(event):
            if isinstance(event, Note) and event.text.startswith("dashboard: "):  # before anything is computed
                (tmp_path / "neighbour.py").unlink()

        there = run(on(cluster, place, *own), listen)

    assert not (tmp_path / "neighbour.py").exists()
    assert there.result_digest == here.result_digest


def fake_version(folder: Path, package: str) -> dict[str, str]:
    """Return an environment in which `package` says that it is version 0.0.1."""
    info = folder / "fake" / f"{package}-0.0.1.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 0.0.1\n")
    return ENVIRONMENT | {"PYTHONPATH": f"{folder}/fake{os.pathsep}{PACKAGES}"}


def test_a_worker_of_another_version_is_refused(place, tmp_path):
    """Dask would warn; here the run ends before it begins, with a table of what differs."""
    with bare_cluster(tmp_path) as cluster:
        cluster.worker(env=fake_version(tmp_path, "pandas"))
        with pytest.raises(TemporaryError, match=r"versions differ.*\n.*\n +pandas +\S+ +tls:\S+ has 0.0.1\n") as told:
            run(on(cluster, place))

    assert told.value.exit_code == ExitCode.TEMPORARY
    assert "numpy" not in str(told.value)


def test_a_worker_of_another_version_that_comes_late_is_refused(place, tmp_path):
    """What it computed is not used."""
    with bare_cluster(tmp_path, workers=1) as cluster:

        def listen(event):
            if event == StageProgress("signals", 1):
                cluster.worker(env=fake_version(tmp_path, "numpy"))

        with pytest.raises(TemporaryError, match="versions differ"):
            run(on(cluster, place), listen)


def test_a_worker_with_another_pipeline_is_refused(place, tmp_path):
    """All of a run is of one version of this package."""
    shutil.copytree(PACKAGE, tmp_path / "other" / "pipeline", ignore=shutil.ignore_patterns("__pycache__"))
    with (tmp_path / "other" / "pipeline" / "schema.py").open("a") as file:
        file.write("# edited\n")
    with bare_cluster(tmp_path) as cluster:
        cluster.worker(env=ENVIRONMENT | {"PYTHONPATH": f"{tmp_path}/other{os.pathsep}{PACKAGES}"})
        with pytest.raises(TemporaryError, match=r"other/pipeline/__init__.py is another version of the pipeline"):
            run(on(cluster, place))


def test_a_worker_that_does_not_see_the_store_is_named(place, tmp_path, monkeypatch):
    """It is told before anything is computed; here its working directory is another one."""
    monkeypatch.chdir(place)
    with bare_cluster(tmp_path, workers=1) as cluster, pytest.raises(TemporaryError) as told:
        run(on(cluster, place, "data.store=/proc/self/cwd/store"))

    assert "reads /proc/self/cwd/store/snapshots/1.json as nothing (No such file or directory)" in str(told.value)


def test_no_worker_is_an_error_in_time(place, tmp_path):
    """A scheduler without workers is not waited for longer than scheduler.timeout."""
    with bare_cluster(tmp_path, tls=False) as cluster:
        began = time.monotonic()
        with pytest.raises(TemporaryError, match="no worker within 1 seconds"):
            run(options_of(place, f"scheduler.address={cluster.address}", "scheduler.timeout=1"))

    assert time.monotonic() - began < 10


@pytest.mark.parametrize("fate", ["workers killed", "scheduler killed", "scheduler frozen"])
def test_a_cluster_that_is_lost_is_an_error_in_time(place, tmp_path, fate):
    """Dask itself would wait for ever for workers, and never notice a frozen scheduler."""
    with bare_cluster(tmp_path, tls=False) as cluster:
        worker = cluster.worker()

        def listen(event):
            if event == StageProgress("signals", 1):
                number = signal.SIGSTOP if fate == "scheduler frozen" else signal.SIGKILL
                (worker if fate == "workers killed" else cluster.scheduler).send_signal(number)

        began = time.monotonic()
        with pytest.raises(TemporaryError) as told:
            run(options_of(place, f"scheduler.address={cluster.address}", "scheduler.timeout=3"), listen)

    assert time.monotonic() - began < 25
    assert {
        "workers killed": "no worker for 3 seconds",
        "scheduler killed": f"the scheduler at {cluster.address} is gone",
        "scheduler frozen": "no answer for 3 seconds",
    }[fate] in str(told.value)
    assert "\n" not in str(told.value)


def test_a_cluster_that_others_keep_busy_is_told(tmp_path):
    """Who waits behind another run learns it after scheduler.timeout, and that none of his tasks has begun."""
    heard = []
    with bare_cluster(tmp_path, workers=1, tls=False) as cluster, distributed.Client(cluster.address) as other:
        hanging = other.submit(time.sleep, 5)
        site = Site(address=cluster.address, timeout=1.5)
        with start(Choice(Kind.DISTRIBUTED, 1, ""), site=site, listener=heard.append) as scheduler:
            assert scheduler.compute([delayed(abs)(-1)]) == [1]
        hanging.release()

    notes = [event.text for event in heard if isinstance(event, Note)]
    assert len(notes) in {1, 2}  # at 1.5 and 3 seconds
    assert "has begun a task of this run for 2 s; all of them (1) are busy with tasks of other runs" in notes[0]


@pytest.mark.parametrize("wrong", ["authority", "expired"])
def test_a_certificate_that_does_not_fit_is_refused_in_time(place, tmp_path, wrong):
    """Of another authority, or of the past."""
    with bare_cluster(tmp_path) as cluster:
        if wrong == "expired":
            tls = cluster.tls(age=10)
        else:
            other = Authority(tmp_path / "other")
            certificate, key = other.issue("user")
            tls = [f"scheduler.tls={{ca: {other.ca}, certificate: {certificate}, key: {key}}}"]
        began = time.monotonic()
        with pytest.raises(TemporaryError, match=r"(refused|no answer within 2 seconds) \(.*certificate"):
            run(options_of(place, f"scheduler.address={cluster.address}", "scheduler.timeout=2", *tls))

    assert time.monotonic() - began < 12


def test_nobody_at_the_address_is_an_error_in_time(place):
    """A port where nothing listens."""
    began = time.monotonic()
    with pytest.raises(TemporaryError, match=r"scheduler.address: tcp://127.0.0.1:9: no answer within 1 seconds"):
        run(options_of(place, "scheduler.address=tcp://127.0.0.1:9", "scheduler.timeout=1"))

    assert time.monotonic() - began < 10


def test_something_else_at_the_address_is_an_error_in_time(place):
    """The dashboard's own port, say: it takes the connection and waits for a word of HTTP."""
    began = time.monotonic()
    with socket.create_server((HOST, 0)) as server:
        address = f"tcp://{HOST}:{server.getsockname()[1]}"
        with pytest.raises(TemporaryError, match=f"{address}: no answer within 2 seconds .something listens there"):
            run(options_of(place, f"scheduler.address={address}", "scheduler.timeout=2"))

    assert time.monotonic() - began < 10


def test_a_scheduler_without_tls_refuses_at_once(place, tmp_path):
    """What OpenSSL says of it is in the message, and nobody waits for the timeout."""
    with bare_cluster(tmp_path, tls=False) as cluster:
        address = cluster.address.replace("tcp://", "tls://")
        authority = Authority(tmp_path / "own")
        certificate, key = authority.issue("user")
        tls = f"scheduler.tls={{ca: {authority.ca}, certificate: {certificate}, key: {key}}}"
        began = time.monotonic()
        with pytest.raises(
            TemporaryError,
            match=f"{address}: refused .*(without TLS|WRONG_VERSION_NUMBER).*; a scheduler is to run there",
        ):
            run(options_of(place, f"scheduler.address={address}", "scheduler.timeout=20", tls))

    assert time.monotonic() - began < 10


@pytest.mark.parametrize(("file", "complaint"), [("missing", "No such file"), ("ca", "PEM files")])
def test_files_that_are_no_certificates_are_config_errors(place, tmp_path, file, complaint):
    """They are looked at before anything is asked of a network."""
    authority = Authority(tmp_path)
    _, key = authority.issue("user")
    certificate = tmp_path / "missing.pem" if file == "missing" else authority.ca
    tls = f"scheduler.tls={{ca: {authority.ca}, certificate: {certificate}, key: {key}}}"

    with pytest.raises(ConfigError, match=rf"scheduler.tls: .*{complaint}"):
        run(options_of(place, "scheduler.address=tls://127.0.0.1:9", tls))


# clusters that a class starts


def listening() -> set[str]:
    """Return on which addresses this process and all below it listen."""
    everyone = [psutil.Process(), *psutil.Process().children(recursive=True)]
    ports = [each for process in everyone for each in process.net_connections("inet") if each.status == "LISTEN"]
    return {port.laddr.ip for port in ports}


@pytest.mark.parametrize("size", ["scale: 2", "adapt: {minimum: 1, maximum: 2}", "kwargs: {n_workers: 2}"])
def test_a_class_starts_a_cluster_that_only_this_machine_reaches(place, size):
    """Its dashboard is on all interfaces unless somebody says otherwise; here somebody does."""
    heard = []

    def listen(event):
        if isinstance(event, StageProgress) and event.stage == "signals":
            heard.append(listening())

    kwargs = size if size.startswith("kwargs") else f"kwargs: {{n_workers: 0}}, {size}"
    cluster = f"scheduler.cluster={{class: distributed.LocalCluster, {kwargs}}}"
    here = run(options_of(place, "scheduler.kind=synchronous", "strategy.params.seconds=0"))
    there = run(options_of(place, cluster, "strategy.params.seconds=0"), listen)

    assert there.result_digest == here.result_digest
    assert heard
    assert set().union(*heard) <= {"127.0.0.1", "::1"}


def test_a_class_gets_the_certificates(place, tmp_path):
    """scheduler.tls encrypts a cluster that is started here, of a class or of a kind."""
    authority = Authority(tmp_path)
    certificate, key = authority.issue("all")
    tls = f"scheduler.tls={{ca: {authority.ca}, certificate: {certificate}, key: {key}}}"
    cluster = "scheduler.cluster={class: distributed.LocalCluster, kwargs: {n_workers: 1, threads_per_worker: 1}}"
    addresses = []
    for chosen in (cluster, "scheduler.kind=distributed"):
        options = options_of(place, chosen, tls)
        site = site_of(options.scheduler, options.dashboard)
        with start(Choice(Kind.DISTRIBUTED, 1, ""), site=site) as scheduler:
            info = scheduler.client.scheduler_info(n_workers=-1)
            addresses += [scheduler.client.scheduler.address, *info["workers"]]

    assert len(addresses) == 4
    assert all(address.startswith("tls://127.0.0.1:") for address in addresses)


@pytest.mark.parametrize(
    ("cluster", "complaint"),
    [
        ("{class: dask_nowhere.SLURMCluster}", "'dask_nowhere.SLURMCluster' is not there .*install the package"),
        ("{class: os.system, kwargs: {command: ls}}", "'os.system' is no cluster"),
        ("{class: distributed.LocalCluster, kwargs: {n_wrokers: 2}}", "refused its arguments .*n_wrokers"),
        ("{class: distributed.LocalCluster, kwargs: {host: 0.0.0.0, n_workers: 0}}", "must be tls://"),
        (
            '{class: distributed.LocalCluster, kwargs: {dashboard_address: ":0", n_workers: 0}}',
            "dashboard of .* listens",
        ),
        ("{class: distributed.LocalCluster, kwargs: {name: '${ENV:NOT_THERE}'}}", "no such variable"),
    ],
)
def test_a_class_that_cannot_be_used_is_a_config_error(place, cluster, complaint):
    """Named before it gets any work, and nothing of it is left."""
    before = len(psutil.Process().children(recursive=True))
    with pytest.raises(ConfigError, match=complaint):
        run(options_of(place, f"scheduler.cluster={cluster}"))

    assert len(psutil.Process().children(recursive=True)) <= before + 2  # fork server and resource tracker
