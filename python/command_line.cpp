#include "python/command_line.h"

#include <fmt/format.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <fcntl.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cerrno>
#include <charconv>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include "models/disk/utf16.h"
#include "models/validation/validate.h"
#include "python/interpreter.h"
#include "python/interrupt.h"
#include "python/machine.h"

namespace python {

namespace py = pybind11;

namespace {

struct RunOptions {
    std::string scenario;
    std::vector<std::string> set;
    std::uint64_t seed = 1;
    std::string out;
    std::string trace;
    std::string until;
    std::string images;
    bool host_time = false;
    bool verbose = false;
    pid_t point = 0;  // the process of the sweep
    bool parameters = false;
};

struct BenchOptions {
    std::string name;
    std::string images;
    unsigned turns = 3;
};

struct ValidateOptions {
    std::string row;
    std::string format = "table";
};

// Where set-up keeps guest images, if the launcher does not say.
std::string default_images() {
    if (const char* images = std::getenv("VERDIGRIS_IMAGES"); images && *images) return images;
    if (const char* cache = std::getenv("VERDIGRIS_CACHE"); cache && *cache) return std::string{cache} + "/guest";
    if (const char* cache = std::getenv("XDG_CACHE_HOME"); cache && *cache) {
        return std::string{cache} + "/verdigris/guest";
    }
    const char* home = std::getenv("HOME");
    return std::string{home ? home : ""} + "/.cache/verdigris/guest";
}

// How many letters must change, come or go until one word is the other.
std::size_t distance(std::string_view a, std::string_view b) {
    std::vector<std::size_t> row(b.size() + 1);
    for (std::size_t j = 0; j <= b.size(); ++j) row[j] = j;
    for (std::size_t i = 1; i <= a.size(); ++i) {
        std::size_t before = std::exchange(row[0], i);
        for (std::size_t j = 1; j <= b.size(); ++j) {
            const std::size_t changed = before + (a[i - 1] == b[j - 1] ? 0 : 1);
            before = std::exchange(row[j], std::min({changed, row[j] + 1, row[j - 1] + 1}));
        }
    }
    return row.back();
}

// What stands on the command line and is no option of the command, and which option may be meant.
std::string unexpected(const CLI::App& command) {
    std::vector<std::string> words = command.remaining();
    const auto option = std::ranges::find_if(words, [](const std::string& word) { return word.starts_with("--"); });
    if (option == words.end()) return fmt::format("{} is one too many", words.empty() ? "that" : words.front());
    std::string word = option->substr(0, option->find('=')), nearest;
    std::size_t least = 2;
    for (const CLI::Option* each : command.get_options()) {
        for (const std::string& name : each->get_lnames()) {
            const std::size_t far = distance(word, "--" + name);
            if (far <= least) least = far, nearest = "--" + name;
        }
    }
    return fmt::format("there is no option {}{}", word,
                       nearest.empty() ? std::string{} : fmt::format("; did you mean {}?", nearest));
}

// CLI11 would take -1 for 2^64 - 1.
std::string check_seed(const std::string& text) {
    const bool digits = !text.empty() && std::ranges::all_of(text, [](char c) { return c >= '0' && c <= '9'; });
    std::uint64_t value = 0;
    const auto end = text.data() + text.size();
    if (digits && std::from_chars(text.data(), end, value).ec == std::errc{}) return {};
    return fmt::format("{} is not a whole number from 0 to 2^64-1", text);
}

// A function of the package. From here on Ctrl-C and SIGTERM are KeyboardInterrupt: not before, since an import can
// swallow that.
py::object package_function(const char* module, const char* name) {
    py::object function = py::module_::import(module).attr(name);
    const auto signal = py::module_::import("signal");
    for (const int number : {SIGINT, SIGTERM}) signal.attr("signal")(number, signal.attr("default_int_handler"));
    return function;
}

int run(const char* executable, const Program& program, const RunOptions& options) {
    // A point does not outlive its sweep, however that ends; it may have ended already.
    if (options.point != 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() != options.point) return 130;
    }
    Machine machine{program.make_host, options.seed};
    set_machine(&machine);
    const int status = with_interpreter(executable, [&options] {
        const py::object function = package_function("verdigris.runner", "run");
        watch_interrupts();
        return function(py::arg("scenario") = options.scenario, py::arg("settings") = options.set,
                        py::arg("out") = options.out, py::arg("trace") = options.trace,
                        py::arg("until") = options.until, py::arg("images") = options.images,
                        py::arg("host_time") = options.host_time, py::arg("verbose") = options.verbose,
                        py::arg("point") = options.point != 0, py::arg("parameters") = options.parameters)
            .cast<int>();
    });
    set_machine(nullptr);
    return status;
}

int bench(const char* executable, const Program& program, const BenchOptions& options) {
    int status = 0;
    bool found = false;
    for (const Bench& one : program.benches) {
        if (!options.name.empty() && options.name != one.name) continue;
        found = true;
        status = std::max(status, one.run());
    }
    if (options.name.empty() || options.name == "boot") {
        found = true;
        status =
            std::max(status, with_interpreter(executable, [&options] {
                         return package_function("verdigris.bench", "boot")(options.images, options.turns).cast<int>();
                     }));
    }
    if (found) return status;
    std::string names = "boot";
    for (const Bench& one : program.benches) names += fmt::format(", {}", one.name);
    return user_error(fmt::format("there is no benchmark {}: {}", options.name, names));
}

// Sweeps and comparisons work on folders of results; no machine is there.
int results_command(std::span<char*> arguments) {
    // The points of a sweep look for guest images where the sweep does.
    setenv("VERDIGRIS_IMAGES", default_images().c_str(), 1);
    return with_interpreter(arguments[0], [arguments] {
        const std::vector<std::string> words{arguments.begin() + 1, arguments.end()};
        const auto executable = py::module_::import("_verdigris").attr("executable");
        return package_function("verdigris.commands", "main")(words, executable).cast<int>();
    });
}

std::string bench_names(const Program& program) {
    std::string text = "boot: a Linux kernel's boot against QEMU's emulator";
    for (const Bench& one : program.benches) text += fmt::format("; {}: {}", one.name, one.description);
    return text;
}

void prepare_process() {
    // What is closed gets lost; a file that is opened must not be taken for it.
    for (int standard = 0; standard < 3; ++standard) {
        if (fcntl(standard, F_GETFD) == -1) open("/dev/null", O_RDWR);
    }
    // A limit of the size of files is an error like a full disk, not the end of the process.
    std::signal(SIGXFSZ, SIG_IGN);
    // Whatever the parent has set aside: `| head` ends us.
    std::signal(SIGPIPE, SIG_DFL);
    end_when_interrupted();
}

bool is_utf8(const std::string& text) {
    return models::text_of_utf16(models::utf16_of(text, models::ByteOrder::little), models::ByteOrder::little) == text;
}

// Text on a terminal whatever its bytes are.
std::string shown(std::string_view bytes) {
    std::string text;
    for (const char c : bytes) {
        const auto byte = static_cast<unsigned char>(c);
        text += byte < 0x80 ? std::string{c} : fmt::format("\\x{:02x}", byte);
    }
    return text;
}

int dispatch(int argc, char** argv, const Program& program) {
    RunOptions run_options;
    BenchOptions bench_options;
    ValidateOptions validate_options;
    run_options.images = bench_options.images = default_images();
    std::vector<std::string> words{argv + std::min(argc, 1), argv + argc};
    words.push_back(run_options.images);
    if (const auto word = std::ranges::find_if_not(words, is_utf8); word != words.end()) {
        return user_error(fmt::format("{} is not UTF-8", shown(*word)));
    }

    CLI::App app{"Verdigris: a deterministic simulator of one x86-64 virtualization host."};
    app.set_version_flag("--version", VG_VERSION);
    app.name("./verdigris");
    app.require_subcommand(1);

    CLI::App& run_command = *app.add_subcommand("run", "Runs a scenario");
    run_command.add_option("SCENARIO", run_options.scenario, "Python file with `async def main(sim)`")->required();
    run_command
        .add_option(
            "--set", run_options.set,
            "NAME=VALUE: sets a parameter of the scenario, or a constant of the timing profile, as exit.hypercall=1000")
        ->expected(1)
        ->take_all();
    run_command.add_option("--seed", run_options.seed, "seed of all random streams, 0 to 2^64-1 (default 1)")
        ->check(CLI::Validator(check_seed, "", "seed"));
    run_command.add_option("--out", run_options.out, "folder for result.json, stats.csv, consoles and trace");
    run_command.add_option(
        "--trace", run_options.trace,
        "kinds of trace records to write to trace.txt: comma list, or `all`; `perfetto`, or `perfetto:` and kinds: "
        "trace.json for ui.perfetto.dev; `vcd`: trace.vcd, who runs and interrupt lines; `pcap`: frames at the "
        "ports of virtual switches and of adapters and at virtual functions, a pcapng file each; "
        "needs --out");
    run_command.add_option("--until", run_options.until,
                           "simulated time at which the run ends at the latest: 2s, 1.5ms");
    run_command.add_option("--images", run_options.images, "folder with guest images: linux/vmlinuz and so on");
    run_command.add_flag("--host-time", run_options.host_time,
                         "samples where the host's time goes, into host_time.csv; needs --out");
    run_command.add_flag("--parameters", run_options.parameters,
                         "lists what --set can change in this scenario; nothing is run");
    run_command.add_option("--point", run_options.point, "the run is a point of the sweep with this process")
        ->group("");
    run_command.add_flag("--verbose", run_options.verbose, "with a scenario's error also the calls that led to it");

    run_command.footer(
        "exit status: 0 every check passed; 1 a check failed, or what was awaited did not come; 2 wrong use, or an "
        "error of\nthe scenario; 130 interrupted");

    CLI::App& bench_command = *app.add_subcommand("bench", "Compares speed with a peer; all benchmarks without NAME");
    bench_command.add_option("NAME", bench_options.name, bench_names(program));
    bench_command.add_option("--images", bench_options.images, "folder with guest images");
    bench_command.add_option("--turns", bench_options.turns, "runs of each side (default 3)")
        ->check(CLI::Range(1, 100));

    CLI::App& validate_command =
        *app.add_subcommand("validate", "Compares the timing models with published measurements; all rows without ROW");
    validate_command.add_option("ROW", validate_options.row, "as its number or name below");
    std::string rows = models::validation_names();
    for (std::size_t at = 0; (at = rows.find("; ", at)) != std::string::npos;) rows.replace(at, 2, "\n  ");
    validate_command.footer("rows:\n  " + rows + "\n\nexit status: 0 all within tolerance; 1 one is not; 2 wrong use");
    validate_command.add_option("--format", validate_options.format, "table (default), csv, json or markdown")
        ->check(CLI::IsMember({"table", "csv", "json", "markdown"}));

    // These have options of their own, which the package reads.
    app.add_subcommand("sweep", "Runs a scenario over a grid of parameters and seeds");
    app.add_subcommand("compare", "Tells what changed between two folders of results");
    app.add_subcommand("report", "Writes report.html for a run, a sweep or several folders");
    constexpr std::string_view package_commands[] = {"sweep", "sweep-task", "compare", "report"};
    if (argc > 1 && std::ranges::count(package_commands, std::string_view{argv[1]}) > 0) {
        return results_command(std::span{argv, static_cast<std::size_t>(argc)});
    }

    try {
        app.parse(argc, argv);
    } catch (const CLI::ParseError& error) {
        if (error.get_exit_code() == 0) return app.exit(error);
        CLI::App* parsed = &app;
        for (CLI::App* each : {&run_command, &bench_command, &validate_command}) {
            if (each->parsed()) parsed = each;
        }
        const bool extra = dynamic_cast<const CLI::ExtrasError*>(&error) != nullptr;
        const char* command = run_command.parsed()        ? "run "
                              : bench_command.parsed()    ? "bench "
                              : validate_command.parsed() ? "validate "
                                                          : "";
        return user_error(fmt::format("{} (./verdigris {}--help explains)",
                                      extra ? unexpected(*parsed) : std::string{error.what()}, command));
    }
    if (validate_command.parsed()) return models::validate(validate_options.row, validate_options.format);
    return run_command.parsed() ? run(argv[0], program, run_options) : bench(argv[0], program, bench_options);
}

}  // namespace

int user_error(std::string_view message) {
    std::string line{message};
    for (char& c : line) {
        if (c == '\n' || c == '\r') c = ' ';
    }
    std::fputs(fmt::format("verdigris: {}\n", line).c_str(), stderr);
    return 2;
}

int command_line(int argc, char** argv, const Program& program) {
    prepare_process();
    try {
        const int status = dispatch(argc, argv, program);
        if (std::fflush(stdout) != 0 || std::ferror(stdout)) throw fmt::system_error(errno, "cannot write to file");
        return status;
    } catch (const std::system_error& error) {  // from fmt::print, too
        return user_error(error.what());
    }
}

}  // namespace python
