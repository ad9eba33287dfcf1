import errno
import os
import re
from pathlib import Path

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from pipeline import config
from pipeline.errors import ConfigError
from pipeline.modes import CashShort, Kind, SizingMethod, Source
from pipeline.options import Options
from pipeline.section import Section

ROOT = Path(__file__).parents[1]


@pytest.fixture
def conf(tmp_path):
    """Write a config file and return its path."""

    def write(text):
        path = tmp_path / "mine.yaml"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return write


def refused(path=None, *overrides, environment=None):
    """Return the lines of the complaint, without the folder of the file and the lines of base.yaml."""
    with pytest.raises(ConfigError) as caught:
        config.load(path, overrides, environment or {})
    text = re.sub(r"(?m)^/\S*/(?=mine\.yaml)", "", str(caught.value))
    return re.sub(r"(?m)^conf/base\.yaml:\d+", "base.yaml:N", text).splitlines()


def loaded(*overrides, path=None, environment=None):
    return config.load(path, overrides, environment or {})


def leaves(tree, group=""):
    """Return the dotted names of a nested dict; groups of free keys count as one."""
    for key, value in tree.items():
        name = f"{group}{key}"
        if isinstance(value, dict) and name not in config.FREE:
            yield from leaves(value, f"{name}.")
        else:
            yield name


def fields(section, group=""):
    for key, field in section.model_fields.items():
        is_section = isinstance(field.annotation, type) and issubclass(field.annotation, Section)
        yield from fields(field.annotation, f"{group}{key}.") if is_section else [f"{group}{key}"]


# what base.yaml is


def test_base_holds_every_option_and_nothing_else():
    """A key of base.yaml is an option, or refused by name until its feature is built."""
    base = set(leaves(yaml.safe_load(config.BASE.read_text())))
    later = {name for name in config.NOT_YET if "=" not in name}

    assert base == set(fields(Options)) | later


def test_base_explains_every_key():
    """Every line of base.yaml that states a setting says why, or its unit, in a comment."""
    lines = [line for line in config.BASE.read_text().splitlines() if re.match(r" *\w+:.*\S", line)]
    silent = [line for line in lines if "#" not in line and not re.fullmatch(r"\w+:", line)]

    assert silent == []


def test_base_has_the_defaults_of_the_design():
    """The defaults are those the design states."""
    options = loaded()

    assert (options.name, options.data.source, options.data.symbols) == ("sample", Source.SAMPLE, "all")
    assert options.data.store == Path("var/store/sample").absolute()
    assert (options.data.warn_above, options.data.fail_above) == (0.05, 0.5)
    assert (options.strategy.name, options.strategy.params) == ("sma_cross", {"fast": "10", "slow": "30"})
    assert (options.scheduler.kind, options.scheduler.workers) == (Kind.AUTO, None)
    assert (options.scheduler.auto.sequential_max, options.scheduler.auto.threads_max) == (3, 10)
    assert (options.trading.cash, options.trading.sizing.method) == (1_000_000, SizingMethod.EQUAL)
    assert (options.trading.orders.valid_sessions, options.trading.orders.cash) == (1, CashShort.SHRINK)
    assert options.output.dir == Path("runs").absolute()


@pytest.mark.parametrize("name", ["base.yaml", "sample.yaml"])
def test_shipped_files_load(name):
    """The files in conf/ are valid as they stand."""
    assert loaded(path=ROOT / "conf" / name).name == "sample"


# layers


def test_layers_override_each_other_in_order(conf):
    """A file beats base, the environment beats the file, the command line beats all."""
    path = conf("trading: {cash: 2, lot: 2, max_positions: null}\ndata: {warn_above: 0.2}")
    environment = {"BACKTEST__TRADING__CASH": "3", "BACKTEST__TRADING__LOT": "3"}
    options = loaded("trading.cash=4", path=path, environment=environment)

    assert (options.data.warn_above, options.trading.lot, options.trading.cash) == (0.2, 3, 4)
    assert options.data.fail_above == 0.5


def test_groups_can_be_given():
    """On the command line a group states several settings, and leaves the others alone."""
    options = loaded("trading={cash: 2, sizing: {method: shares, value: 7}}")

    assert (options.trading.cash, options.trading.sizing.method, options.trading.sizing.value) == (2, "shares", 7)
    assert options.trading.orders.valid_sessions == 1


def test_params_are_one_setting_and_their_keys_can_be_changed(conf):
    """Stating params replaces them; a dotted key changes one; another strategy starts without."""
    path = conf("strategy: {params: {fast: 5}}")

    assert loaded(path=path).strategy.params == {"fast": "5"}
    assert loaded("strategy.params.fast=5").strategy.params == {"fast": "5", "slow": "30"}
    assert loaded("strategy.params.period=9", "strategy.name=rsi").strategy.params == {"period": "9"}


def test_params_stay_text():
    """What a strategy's options mean is decided by its type hints, so they arrive as they were written."""
    options = loaded("strategy.params={a: 010, b: ON, c: '~', d: ~, e: [1:30, {f: 5e-4}]}")

    assert options.strategy.params == {"a": "010", "b": "ON", "c": "~", "d": None, "e": ["1:30", {"f": "5e-4"}]}


def test_old_names_still_work():
    """The three old variables set what they used to set."""
    environment = {
        "BACKTEST_USE_PROCESS_POOL": "false",
        "BACKTEST_PROCESS_POOL_SIZE": "4",
        "BACKTEST_THREAD_POOL_SIZE": "8",
    }
    scheduler = loaded(environment=environment).scheduler

    assert not scheduler.processes.allowed
    assert (scheduler.workers_of(Kind.PROCESSES), scheduler.workers_of(Kind.THREADS), scheduler.readers) == (4, 8, 8)
    assert scheduler.workers_of(Kind.DISTRIBUTED) is None


def test_workers_of_the_command_line_beat_the_old_names_and_these_beat_the_file(conf):
    """The order of precedence also holds between the common number of workers and that of one kind."""
    path, environment = conf("scheduler: {workers: 2}"), {"BACKTEST_PROCESS_POOL_SIZE": "4"}

    assert loaded(path=path, environment=environment).scheduler.workers_of(Kind.PROCESSES) == 4
    assert loaded(path=path, environment=environment).scheduler.workers_of(Kind.THREADS) == 2
    assert loaded("scheduler.workers=3", environment=environment).scheduler.workers_of(Kind.PROCESSES) == 3


def test_processes_that_are_not_allowed_cannot_be_chosen():
    """BACKTEST_USE_PROCESS_POOL=false and kind processes contradict each other."""
    lines = refused(None, "scheduler.kind=processes", environment={"BACKTEST_USE_PROCESS_POOL": "false"})

    rule = "another kind expected, since scheduler.processes.allowed is false."
    assert lines == [f"command line: scheduler.kind is 'processes'; {rule}"]


def test_paths_start_from_the_current_directory(tmp_path, monkeypatch):
    """Relative paths become absolute; ~ is the home directory; names of strategies are no paths."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/me")
    options = loaded("data.source=csv", "data.path=~/bars", "output.dir=out", "strategy.name=mine/up.py")

    assert (options.data.path, options.output.dir) == (Path("/home/me/bars"), tmp_path / "out")
    assert options.strategy.name == str(tmp_path / "mine/up.py")
    assert loaded("strategy.name=package.up").strategy.name == "package.up"


def test_one_strategy_file_has_one_name(tmp_path, monkeypatch):
    """However the way to it is written; unless a link stands in it, beyond which ``..`` is another folder."""
    for folder in ("here", "mine", "far/away"):
        (tmp_path / folder).mkdir(parents=True)
    for folder in ("mine", "far"):
        (tmp_path / folder / "up.py").touch()
    (tmp_path / "here" / "link").symlink_to(tmp_path / "far" / "away")
    (tmp_path / "here" / "up.py").touch()
    monkeypatch.chdir(tmp_path / "here")

    assert loaded("strategy.name=../mine/up.py").strategy.name == str(tmp_path / "mine/up.py")
    assert loaded("strategy.name=link/../up.py").strategy.name == str(tmp_path / "here/link/../up.py")


# what is read as what


def test_looks_of_text_decide_nothing():
    """Symbols that YAML 1.1 would read as truth values, numbers, times or nothing stay what they are."""
    symbols = "[ON, NO, yes, 000001, 0700, 1:30, 5e-4, 2020-01-01, NULL, 'null', .inf, =, TRUE]"

    assert loaded(f"data.symbols={symbols}").data.symbols == (
        *("ON", "NO", "yes", "000001", "0700", "1:30", "5e-4", "2020-01-01", "NULL", "null", ".inf", "=", "TRUE"),
    )


@pytest.mark.parametrize(
    ("text", "value"), [("true", True), ("Yes", True), ("ON", True), ("false", False), ("no", False), ("off", False)]
)
def test_truth_values(text, value):
    """True and false have the spellings people use."""
    assert loaded(f"output.report={text}").output.report is value


@pytest.mark.parametrize(("text", "value"), [("5e-4", 0.0005), ("0.0005", 0.0005), ("1", 1.0), ("'0.1'", 0.1)])
def test_numbers(text, value):
    """A number is one however it is written."""
    assert loaded(f"trading.commission.rate={text}").trading.commission.rate == value


def test_byte_order_mark_is_left_out(conf):
    """Files of editors that write one are read."""
    assert loaded(path=conf(b"\xef\xbb\xbfname: mine")).name == "mine"


def test_symbols_of_a_file(tmp_path):
    """A file of symbols has one a line, and comments."""
    path = tmp_path / "symbols.txt"
    path.write_text("# mine\nAAPL\n\n  000001  # leading zeros stay\r\nON\n")

    assert loaded(f"data.symbols={path}").data.symbols == ("AAPL", "000001", "ON")


@pytest.mark.parametrize("setting", ["data.symbols", "data.store", "output.dir", "strategy.name"])
@pytest.mark.parametrize("path", ["/" + 256 * "9", 2000 * "/ab"], ids=["name", "path"])
def test_paths_that_no_system_takes_are_refused(setting, path):
    """At the door, not where a file is wanted."""
    (complaint,) = refused(None, f"{setting}={path}")

    assert complaint.startswith(f"command line: {setting} is '/")
    assert "a path of at most 4,095 bytes, and 255 for each name in it, expected" in complaint
    assert len(complaint) < 300


def test_a_file_of_symbols_that_may_not_be_seen_is_refused(tmp_path, monkeypatch):
    """Nobody can tell whether it is there; what is told is why."""

    def denied(path, **_):
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    with monkeypatch.context() as patch:
        patch.setattr(Path, "stat", denied)
        (complaint,) = refused(None, f"data.symbols={tmp_path}/closed/symbols.txt")

    assert complaint.endswith("symbols.txt: Permission denied; a readable file expected. Check the path.")


def test_bad_files_of_symbols_are_refused(tmp_path):
    """A folder, and a symbol that stands twice, are named."""
    path = tmp_path / "symbols.txt"
    path.write_text("A\nB\nA\n")

    assert refused(None, f"data.symbols={tmp_path}") == [f"{tmp_path}: not a regular file. Name a file."]
    assert "but A stands there more often" in refused(None, f"data.symbols={path}")[0]


# what is refused


def test_a_lack_is_told_of_the_setting_that_needs_it():
    """Where the user stated that setting, and with what to add to it; the default that is null is not to blame."""
    for method, amount in (("value", "10_000"), ("shares", "100"), ("fraction", "0.1"), ("risk", "0.01")):
        (line,) = refused(None, f"trading.sizing.method={method}")
        needed = f"command line: trading.sizing.method is '{method}'; it needs trading.sizing.value, the "

        assert line.startswith(needed)
        assert line.endswith(f". Add trading.sizing.value={amount}, say.")


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (
            "scheduler: {worker: 3}",
            "mine.yaml:1: scheduler.worker is not a setting; did you mean 'scheduler.workers'? Known in scheduler: ",
        ),
        (
            "\n\ncash: 3",
            "mine.yaml:3: cash is not a setting; did you mean 'trading.cash'? Known: name, as_of,",
        ),
        (
            "stratgy: {name: x}",
            "mine.yaml:1: stratgy.name is not a setting; did you mean 'strategy.name'? Known: name, as_of,",
        ),
        (
            "stratgy: {params: {fast: 3}}",
            "mine.yaml:1: stratgy.params.fast is not a setting; did you mean 'strategy'? Known: name, as_of,",
        ),
        (
            "trading: {sizng: {method: value}}",
            "mine.yaml:1: trading.sizng.method is not a setting; did you mean 'trading.sizing.method'? Known in ",
        ),
        (
            "trading: {size_method: value}",
            "mine.yaml:1: trading.size_method is not a setting; did you mean 'trading.sizing.method'? Known in ",
        ),
        ("data: {api_url: x}", "mine.yaml:1: data.api_url is not a setting; known in data: source, path,"),
        ("trading:\n  cash: -5", "mine.yaml:2: trading.cash is '-5'; a number greater than 0 expected."),
        ("trading: {cash: .nan}", "mine.yaml:1: trading.cash is '.nan'; a valid number expected."),
        ("trading: {cash: inf}", "mine.yaml:1: trading.cash is 'inf'; a finite number expected."),
        (
            "trading: {cash: 1e16}",
            "mine.yaml:1: trading.cash is '1e16'; a number less than or equal to 1000000000000000",
        ),
        (
            "trading: {max_positions: 99999999999}",
            "mine.yaml:1: trading.max_positions is '99999999999'; a number less than or ",
        ),
        ("trading: {cash: [1]}", "mine.yaml:1: trading.cash is a list; a valid number expected."),
        (
            "trading: {cash: {x: 1}}",
            "mine.yaml:1: trading.cash.x is not a setting; did you mean 'trading.cash'? Known in trading:",
        ),
        ("trading: 5", "mine.yaml:1: trading is '5'; a group of keys expected. Known: cash, market,"),
        ("trading:", "mine.yaml:1: trading is null; a group of keys expected. Known: cash, market,"),
        ("trading: {cash: }", "mine.yaml:1: trading.cash is null; a valid number expected."),
        ("trading: {lot: 1.5}", "mine.yaml:1: trading.lot is '1.5'; a valid integer expected."),
        (
            "trading: {commission: {rate: 1.1}}",
            "mine.yaml:1: trading.commission.rate is '1.1'; a number less than or equal to 1 ",
        ),
        (
            "trading: {orders: {valid_sessions: 0}}",
            "mine.yaml:1: trading.orders.valid_sessions is '0'; a number greater than or ",
        ),
        ("trading: {orders: {cash: no}}", "mine.yaml:1: trading.orders.cash is 'no'; 'shrink' or 'reject' expected."),
        ("output: {report: maybe}", "mine.yaml:1: output.report is 'maybe'; true or false expected."),
        ("scheduler: {kind: dask}", "mine.yaml:1: scheduler.kind is 'dask'; 'auto', 'synchronous', 'threads', 'proc"),
        ("data: {start: 2020-13-45}", "mine.yaml:1: data.start is '2020-13-45'; a date like 2020-12-31 expected."),
        ("data: {start: 86400}", "mine.yaml:1: data.start is '86400'; a date like 2020-12-31 expected."),
        ("data: {end: 2999-01-01}", "mine.yaml:1: data.end is '2999-01-01'; it lies in the future; "),
        (
            "data:\n  start: 2020-01-02\n  end: 2020-01-01",
            "mine.yaml:3: data.end is '2020-01-01'; data.start, 2020-01-02, or later expected.",
        ),
        ("data: {symbols: []}", "mine.yaml:1: data.symbols is an empty list; at least one symbol expected."),
        ("data: {symbols: [A, B, A]}", "mine.yaml:1: data.symbols is a list; each symbol once expected, but A stands"),
        ("data: {symbols: [A, ~]}", "mine.yaml:1: data.symbols[1] is null; text expected."),
        ("data: {symbols: AAPL}", "mine.yaml:1: data.symbols is 'AAPL'; no such file. Write all, [A, B], or a file of"),
        (
            "data: {symbols: https://x.org/s}",
            "mine.yaml:1: data.symbols is 'https://x.org/...'; a local path expected, rem",
        ),
        ("data: {store: s3://b/x}", "mine.yaml:1: data.store is 's3://b/...'; a local path expected, remote paths are"),
        (
            "data: {store: 'simplecache::x'}",
            "mine.yaml:1: data.store is 'simplecache::x'; a local path expected, remote",
        ),
        ('data: {store: "a\\0b"}', "mine.yaml:1: data.store is 'a\\x00b'; a path without control characters expected."),
        ("data: {store: ''}", "mine.yaml:1: data.store is ''; a path without control characters expected."),
        ("output: {dir: 'http://me:pw@x/'}", "mine.yaml:1: output.dir is 'http://...@x/...'; a local path expected"),
        (
            "scheduler: {address: 'tcp://127.0.0.1:99999'}",
            "mine.yaml:1: scheduler.address is 'tcp://127.0.0.1:99999'; an address like tls://host:8786 expected",
        ),
        (
            "scheduler: {address: 'tcp://[::1]:1?token=a#b'}",
            "mine.yaml:1: scheduler.address is 'tcp://[::1]:1/...'; an address like tls://host:8786 expected",
        ),
        (
            "scheduler: {address: 'tcp://me:p@ss@host:1?token=a@b'}",
            "mine.yaml:1: scheduler.address is 'tcp://...'; an address like tls://host:8786 expected",
        ),
        (
            "scheduler: {tls: {ca: a.pem}}",
            "mine.yaml:1: scheduler.tls.ca is 'a.pem' and scheduler.tls.key is null; ca, certificate and key expected",
        ),
        (
            "scheduler:\n  auto:\n    sequential_max: 20",
            "mine.yaml:3: scheduler.auto.sequential_max is '20' and scheduler.auto.threads_max is '10'; scheduler.auto",
        ),
        (
            "scheduler: {auto: {sequential_max: 4, threads_max: 3}}",
            "mine.yaml:1: scheduler.auto.threads_max is '3'; scheduler.auto.sequential_max, 4, or more expected.",
        ),
        ("data: {source: csv}", "mine.yaml:1: data.source is 'csv'; it needs data.path, a folder, a glob or a file of"),
        (
            "data: {path: bars}",
            "mine.yaml:1: data.path is 'bars'; data.source is sample, which takes no path. Set data.",
        ),
        (
            "data: {warn_above: 0.6}",
            "mine.yaml:1: data.warn_above is '0.6' and data.fail_above is '0.50'; data.warn_above, 0.6, or more expect",
        ),
        (
            "data: {file_pattern: x.csv}",
            "mine.yaml:1: data.file_pattern is 'x.csv'; {symbol} expected in it, once; or another name in braces",
        ),
        ("data: {columns: [a]}", "mine.yaml:1: data.columns is a list; a group of keys expected."),
        ("data: {columns: {close: [a]}}", "mine.yaml:1: data.columns.close is a list; text expected."),
        ("name: ../x", "mine.yaml:1: name is '../x'; a plain file name expected: letters, digits and . _ + -,"),
        ("name: latest", "mine.yaml:1: name is 'latest'; a plain file name expected"),
        ("trading: {sizing: {method: fraction, value: 2}}", "mine.yaml:1: trading.sizing.value is '2'; a fraction of "),
        ("trading: {sizing: {method: value}}", "mine.yaml:1: trading.sizing.method is 'value'; it needs trading.siz"),
        (
            "trading: {sizing: {value: 3}}",
            "mine.yaml:1: trading.sizing.value is '3'; sizing by equal takes none. Leave",
        ),
    ],
)
def test_wrong_values_are_named(conf, text, complaint):
    """A complaint says where, which setting, what came and what is expected, in one line."""
    lines = refused(conf(text))

    assert len(lines) == 1
    assert lines[0].startswith(complaint)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("name: a\nname: b", "mine.yaml:2: 'name' stands twice, first at "),
        ("name: &a x\n", "mine.yaml:1: anchor or alias 'a'; neither is allowed."),
        ("data: &a {path: *a}", "mine.yaml:1: anchor or alias 'a'; neither is allowed."),
        ("name: !!python/object:os.system x", "mine.yaml:1: tag 'tag:yaml.org,2002:python/object:os.system';"),
        ("name: ! x", "mine.yaml:1: tag '!'; tags are not allowed."),
        ("name: a\n---\nname: b", "mine.yaml:2: a second document; one expected."),
        ("- a", "mine.yaml:1: a list; a mapping expected."),
        ("abc", "mine.yaml:1: a text; a mapping expected."),
        ("", "mine.yaml:1: no settings; a mapping expected."),
        ("# nothing\n", "mine.yaml:1: no settings; a mapping expected."),
        ("name: a\n\tb: c", "mine.yaml:2: a tab; YAML is indented with spaces."),
        ("trading:\n\tcash: 5", "mine.yaml:2: a tab; YAML is indented with spaces."),
        ("\tname: a", "mine.yaml:1: a tab; YAML is indented with spaces."),
        ("name: @a", "mine.yaml:1: found character that cannot start any token;"),
        ("name: [a", "mine.yaml:"),
        ("? [a]\n: b", "mine.yaml:1: a key that is not text; text expected."),
        ("~: b", "mine.yaml:1: a key that is not text; text expected."),
        (b"name: a\ntrading: \xff", "mine.yaml:2: byte 0xff; UTF-8 expected."),
        ("name: a".encode("utf-16"), "mine.yaml:1: byte 0xff; UTF-8 expected."),
        (b"name: \x07", "mine.yaml:1: control or invalid characters;"),
        ('name: "\\ud800"', "mine.yaml:1: "),
        ("name: " + "[" * 21 + "]" * 21, "mine.yaml:1: more than 20 levels;"),
        ("[" * 1500, "mine.yaml:1: more than 20 levels;"),
        (b"#" * (256 * 1024 + 1), "mine.yaml: more than 256 KiB;"),
    ],
)
def test_yaml_that_no_config_needs_is_refused(conf, text, complaint):
    """Anchors, tags, duplicates, depth, size and what is not YAML or UTF-8 end with file and line."""
    (line,) = refused(conf(text))

    assert line.startswith(complaint)


def test_settings_stated_in_two_forms_are_refused(conf):
    """A dotted key and a group that state the same setting contradict each other."""
    lines = refused(conf("trading: {cash: 1}\ntrading.cash: 2"))

    assert lines == [f"mine.yaml:{n}: trading.cash stands twice; once expected. Remove one." for n in (1, 2)]


@pytest.mark.parametrize("arguments", [("trading.cash=1", "trading.cash=2"), ("trading.cash=1", "trading={cash: 1}")])
def test_a_key_stands_once_on_the_command_line(arguments):
    """Of two values for one key one is a slip, as in a file."""
    assert refused(None, *arguments) == ["command line: trading.cash stands twice; once expected. Remove one."]


@pytest.mark.parametrize(
    ("variable", "hint"),
    [
        ("BACKTEST_TRADING_CASH", "did you mean BACKTEST__TRADING__CASH? Two"),
        ("BACKTEST_DATA_WARN_ABOVE", "did you mean BACKTEST__DATA__WARN_ABOVE? Two"),
        ("BACKTEST_THREADPOOL_SIZE", "did you mean BACKTEST_THREAD_POOL_SIZE? Two"),
        ("BACKTEST_XYZZY", "two"),
        ("BACKTEST_FOO", "two"),
    ],
)
def test_a_variable_that_only_looks_like_a_setting_is_refused(variable, hint):
    """One underscore instead of two does not silently change nothing."""
    (line,) = refused(environment={variable: "5", "BACKTEST_REAL_DATA": "/bars", "BACKTESTS": "1"})

    assert line == f"environment {variable}: no setting of ours; {hint} underscores stand for a dot."


def test_missing_files_folders_and_pipes_are_refused(tmp_path):
    """Whatever is no readable regular file ends at once; a pipe does not block."""
    os.mkfifo(tmp_path / "pipe")

    assert "No such file" in refused(tmp_path / "none.yaml")[0]
    assert "not a regular file" in refused(tmp_path)[0]
    assert "not a regular file" in refused(tmp_path / "pipe")[0]
    assert "too long" in refused(tmp_path / ("x" * 300))[0]


def test_all_mistakes_are_told_at_once(conf):
    """One look is enough to correct a file, an environment and a command line."""
    path = conf("colour: red\ntrading:\n  cash: -5\n  market: cn\ndata:\n  store: s3://x\n")
    lines = refused(path, "scheduler.kind=fast", environment={"BACKTEST__TRADING__LOTS": "1"})

    assert sorted(line.split(" is ")[0] for line in lines) == [
        "command line: scheduler.kind",
        "environment BACKTEST__TRADING__LOTS: trading.lots",
        "mine.yaml:1: colour",
        "mine.yaml:3: trading.cash",
        "mine.yaml:4: trading.market",
        "mine.yaml:6: data.store",
    ]


@pytest.mark.parametrize("argument", ["cash", "=5", "trading.cash"])
def test_arguments_are_key_value(argument):
    """Anything else on the command line is refused with an example."""
    assert refused(None, argument) == [
        f"command line: {argument!r}; KEY=VALUE expected. Write it like trading.cash=50_000."
    ]


@pytest.mark.parametrize(
    ("argument", "complaint"),
    [
        ("trading.market=cn", "trading.market is 'cn'; the A-share market is not available in this version."),
        (
            "trading.slippage.ticks=1",
            "trading.slippage.ticks is '1'; slippage in ticks is not available in this version. Leave it null.",
        ),
        ("trading.ranking.top=5", "trading.ranking.top is '5'; ranking is not available in this version. Leave it 10."),
        (
            "strategy.members=[a, b]",
            "strategy.members is a list; combined strategies are not available in this version.",
        ),
    ],
)
def test_what_is_not_built_is_refused_by_name(argument, complaint):
    """A setting whose feature is missing never passes silently."""
    (line,) = refused(None, argument)

    assert line.startswith(f"command line: {complaint}")


def test_stating_the_default_of_what_is_not_built_is_fine():
    """A file may state what is the case anyway."""
    settings = ("trading.slippage={ticks: ~}", "trading.ranking={top: 10}", "strategy.pairs=null")

    assert loaded(*settings) == loaded()


def test_secrets_are_refused_and_never_shown(conf):
    """A secret in a file is refused by its key; its value is in no message."""
    path = conf("strategy: {name: x, params: {api_key: hunter2, deep: [{db-password: [hunter2]}], token: '${ENV:T}'}}")
    lines = refused(path, "data.password=hunter2", "trading.cash=-1")

    assert "hunter2" not in " ".join(lines)
    assert [line.split(";")[0] for line in lines] == [
        "command line: data.password is not a setting",
        "mine.yaml:1: strategy.params.api_key looks like a secret",
        "mine.yaml:1: strategy.params.deep.db-password looks like a secret",
        "command line: trading.cash is '-1'",
    ]
    assert lines[1].endswith("Use ${ENV:NAME}.")


@pytest.mark.parametrize("key", ["data.path", "data.store", "output.dir", "strategy.name"])
def test_paths_of_another_encoding_are_refused(key):
    """A path that is not UTF-8, as a shell hands it over, could not be written down."""
    assert len(refused(None, f"{key}=/srv/\udcff.py")) == 1


def test_references_to_secrets_stay_references():
    """What a run writes down is the name of the variable, never its value."""
    options = loaded("strategy.params.token='${ENV:TOKEN}'", environment={"TOKEN": "hunter2"})

    assert options.strategy.params["token"] == "${ENV:TOKEN}"


# round trips and random input


@pytest.mark.parametrize(
    "overrides",
    [
        (),
        ("data.symbols=[ON, '000001', '1:30', 'null', A]", "data.start=2020-01-02", "trading.commission.rate=5e-4"),
        ("strategy.params={a: 010, b: ~, c: 'null', d: [x, {y: z}]}", "scheduler.workers=3"),
        ("strategy.params={}", "data.columns={close: 收盘, open: '开 盘'}", "scheduler.threads.workers=2"),
    ],
)
def test_dumped_options_load_as_they_were(tmp_path, overrides):
    """The config.yaml of a run reproduces its options, from any directory."""
    options = loaded(*overrides)
    path = tmp_path / "config.yaml"
    path.write_text(config.dump(options))

    assert loaded(path=path) == options


@example({"\x85": "a\u2028 b\n"})
@given(st.recursive(st.none() | st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.text(min_size=1), inner)))
def test_any_params_survive_a_dump(tmp_path_factory, value):
    """Whatever text a strategy is given comes back from config.yaml."""
    options = loaded().model_copy(update={"strategy": loaded().strategy.model_copy(update={"params": {"x": value}})})
    path = tmp_path_factory.mktemp("dump") / "config.yaml"
    path.write_text(config.dump(options))

    assert loaded(path=path) == options


WORDS = """name data trading cash scheduler kind symbols strategy params null nan ON 1 0.5 2020-01-01 <<
    : { } [ ] , - ? | > & * ! !!str ' " % @ ` # ~ --- ... ${ENV:X} \\x \\ud800 \\U00110000 收"""
FRAGMENTS = st.sampled_from([*WORDS.split(), " ", "\n", "\n  ", "\t", "\ufeff", "\x00", "\x85", ": ", "\ud800"])
TEXTS = st.lists(FRAGMENTS, max_size=30).map("".join)


def is_answered(path, overrides, environment):
    """Tell whether loading ends with options or with complaints; any other exception passes through."""
    try:
        return isinstance(config.load(path, overrides, environment), Options)
    except ConfigError as error:
        return all(str(error).split("\n"))


@given(st.binary(max_size=200) | TEXTS.map(lambda text: text.encode(errors="surrogatepass")))
def test_any_file_gives_options_or_a_config_error(tmp_path_factory, content):
    """No content of a file is a defect of ours."""
    path = tmp_path_factory.mktemp("any") / "any.yaml"
    path.write_bytes(content)

    assert is_answered(path, (), {})


@given(
    st.text() | TEXTS, st.sampled_from(["name", "data.symbols", "data.start", "trading.cash", "strategy.params.x", "x"])
)
def test_any_argument_gives_options_or_a_config_error(value, key):
    """No VALUE on the command line or in the environment is a defect of ours."""
    assert is_answered(None, [f"{key}={value}"], {})
    assert is_answered(None, (), {f"BACKTEST__{key.replace('.', '__')}": value})


def test_alias_bombs_end_at_once(conf):
    """The billion laughs are refused at their first anchor."""
    bomb = "a: &a [x]\n" + "".join(f"{b}: &{b} [*{a},*{a}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True))

    assert refused(conf(bomb))[0].startswith("mine.yaml:1: anchor or alias 'a'")
