#include "python/interpreter.h"

#include <fmt/format.h>
#include <pybind11/pybind11.h>

#include <cstdlib>
#include <string>

extern "C" PyObject* PyInit__verdigris();

namespace python {

namespace py = pybind11;

namespace {

// The package is in the source tree; VERDIGRIS_PYTHON names another folder that holds it.
std::string package_folder() {
    const char* named = std::getenv("VERDIGRIS_PYTHON");
    return named && *named ? named : VG_PYTHON_PACKAGES;
}

PyStatus configure(PyConfig& config, const char* executable) {
    PyPreConfig before;
    PyPreConfig_InitIsolatedConfig(&before);
    before.utf8_mode = 1;
#ifdef __SANITIZE_ADDRESS__
    before.allocator = PYMEM_ALLOCATOR_MALLOC;
#endif
    PyStatus status = Py_PreInitialize(&before);
    if (PyStatus_Exception(status)) return status;

    PyConfig_InitIsolatedConfig(&config);
    config.use_hash_seed = 1;
    config.hash_seed = 0;
    config.site_import = 0;     // runs nothing that packages left in site folders
    config.write_bytecode = 0;  // a run leaves nothing behind in the source tree
    config.install_signal_handlers = 0;
    config.pathconfig_warnings = 0;
    status = PyConfig_SetBytesString(&config, &config.home, VG_PYTHON_HOME);
    if (PyStatus_Exception(status)) return status;
    return PyConfig_SetBytesString(&config, &config.program_name, executable);
}

void set_paths() {
    py::list path = py::module_::import("sys").attr("path");
    path.insert(0, package_folder());
    // Libraries of the distribution (numpy and the like) can be imported, after the standard library.
    path.append(VG_PYTHON_HOME "/lib/python3/dist-packages");
}

// The interpreter's own handler turns the signal into KeyboardInterrupt; ours sits in front of it.
void set_signals() {
    const auto signal = py::module_::import("signal");
    signal.attr("signal")(signal.attr("SIGINT"), signal.attr("default_int_handler"));
    if (const auto pipe = py::getattr(signal, "SIGPIPE", py::none()); !pipe.is_none()) {
        signal.attr("signal")(pipe, signal.attr("SIG_DFL"));
    }
}

}  // namespace

int with_interpreter(const char* executable, const std::function<int()>& body) {
    PyConfig config;
    PyImport_AppendInittab("_verdigris", &PyInit__verdigris);
    PyStatus status = configure(config, executable);
    if (!PyStatus_Exception(status)) status = Py_InitializeFromConfig(&config);
    PyConfig_Clear(&config);
    if (PyStatus_Exception(status)) {
        fmt::print(stderr, "verdigris: Python cannot start: {}; try ./verdigris doctor\n",
                   status.err_msg ? status.err_msg : "no reason given");
        return 2;
    }
    set_paths();
    set_signals();
    const int result = body();
    Py_FinalizeEx();
    return result;
}

}  // namespace python
