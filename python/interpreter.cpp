#include "python/interpreter.h"

#include <fmt/format.h>
#include <pybind11/pybind11.h>

#include <fcntl.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <string>

#include "python/interrupt.h"

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

// The work is done: an interrupt now ends the process rather than what it still has to say.
void release_interrupts() {
    std::signal(SIGINT, SIG_DFL);
    std::signal(SIGTERM, SIG_DFL);
    if (PyErr_CheckSignals() != 0) PyErr_Clear();
}

// The package answers users' mistakes itself; what is left over are Ctrl-C and what cannot be read or written.
int status_of(py::error_already_set& error) {
    if (error.matches(PyExc_KeyboardInterrupt) || interrupted()) {
        const std::string said = error.matches(PyExc_KeyboardInterrupt) ? py::str(error.value()) : py::str();
        user_error(said.empty() ? "interrupted" : said);
        return 130;
    }
    if (error.matches(PyExc_OSError)) {
        const py::object file = error.value().attr("filename"), why = error.value().attr("strerror");
        const py::str text = !file.is_none()  ? py::str("{}: {}").format(file, why)
                             : !why.is_none() ? py::str(why)
                                              : py::str(error.value());
        // The interpreter's end would try again to write what it could not.
        if (const int nowhere = open("/dev/null", O_WRONLY | O_CLOEXEC); nowhere >= 0) dup2(nowhere, STDOUT_FILENO);
        return user_error(std::string{py::bytes(text.attr("encode")("utf-8", "backslashreplace"))});
    }
    std::fputs(fmt::format("verdigris: a defect in Verdigris itself:\n{}\n", error.what()).c_str(), stderr);
    return 70;
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
    int result = 0;
    try {
        set_paths();
        result = body();
        py::module_::import("sys").attr("__stdout__").attr("flush")();
    } catch (py::error_already_set& error) {
        release_interrupts();
        result = status_of(error);
    }
    release_interrupts();
    Py_FinalizeEx();
    return result;
}

}  // namespace python
