#include "python/host_time.h"

#include <cxxabi.h>
#include <dlfcn.h>
#include <elf.h>
#include <link.h>
#include <signal.h>
#include <sys/time.h>
#include <ucontext.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iterator>
#include <memory>
#include <string_view>
#include <vector>

namespace python {

namespace {

constexpr std::size_t capacity = std::size_t{1} << 20;
std::unique_ptr<std::uintptr_t[]> samples;
std::atomic<std::size_t> count{0};

extern "C" void on_tick(int, siginfo_t*, void* context) {
    const std::size_t index = count.fetch_add(1);
    if (index >= capacity) return;
    samples[index] = static_cast<std::uintptr_t>(static_cast<ucontext_t*>(context)->uc_mcontext.gregs[REG_RIP]);
}

void set_period(long microseconds) {
    const itimerval period{{0, microseconds}, {0, microseconds}};
    setitimer(ITIMER_PROF, &period, nullptr);
}

struct Symbol {
    std::uintptr_t begin;
    std::uintptr_t end;
    std::string name;
};

// The functions of the executable, sorted. dladdr() knows only what is exported.
std::vector<Symbol> own_symbols() {
    std::ifstream file{"/proc/self/exe", std::ios::binary};
    const std::vector<char> image{std::istreambuf_iterator<char>{file}, {}};
    std::uintptr_t base = 0;
    dl_iterate_phdr(
        [](dl_phdr_info* info, std::size_t, void* result) {
            *static_cast<std::uintptr_t*>(result) = info->dlpi_addr;  // the first is the executable
            return 1;
        },
        &base);
    std::vector<Symbol> symbols;
    Elf64_Ehdr header;
    if (image.size() < sizeof header) return symbols;
    std::memcpy(&header, image.data(), sizeof header);
    std::vector<Elf64_Shdr> sections(header.e_shnum);
    std::memcpy(sections.data(), image.data() + header.e_shoff, sections.size() * sizeof(Elf64_Shdr));
    for (const Elf64_Shdr& section : sections) {
        if (section.sh_type != SHT_SYMTAB) continue;
        const char* names = image.data() + sections[section.sh_link].sh_offset;
        for (std::size_t at = 0; at + sizeof(Elf64_Sym) <= section.sh_size; at += sizeof(Elf64_Sym)) {
            Elf64_Sym symbol;
            std::memcpy(&symbol, image.data() + section.sh_offset + at, sizeof symbol);
            if (ELF64_ST_TYPE(symbol.st_info) != STT_FUNC || symbol.st_size == 0) continue;
            const std::uintptr_t begin = base + symbol.st_value;
            symbols.push_back({begin, begin + symbol.st_size, names + symbol.st_name});
        }
    }
    std::ranges::sort(symbols, {}, &Symbol::begin);
    return symbols;
}

std::string readable(const std::string& name) {
    int status = 0;
    const std::unique_ptr<char, void (*)(void*)> text{abi::__cxa_demangle(name.c_str(), nullptr, nullptr, &status),
                                                      &std::free};
    return status == 0 ? text.get() : name;
}

// The part of the program that a function of the executable belongs to: a room by its namespace, or the engine.
std::string part_of(const std::string& mangled) {
    static constexpr std::array<std::string_view, 11> rooms{
        "sim", "mmu", "slat", "pci", "cpu", "vmbus", "models", "sriov_nic", "hypervisor", "python", "bench"};
    if (mangled.starts_with("_Z")) {
        const std::string name = readable(mangled);
        // The first namespace of ours that the name mentions: a return type or a library template may come before it.
        std::size_t best = std::string::npos;
        std::string_view part = "C++ library";
        for (const std::string_view room : rooms) {
            const std::size_t at = name.find(std::string{room} + "::");
            if (at < best &&
                (at == 0 || (!std::isalnum(static_cast<unsigned char>(name[at - 1])) && name[at - 1] != ':'))) {
                best = at;
                part = room;
            }
        }
        return std::string{part};
    }
    const auto mentions = [&mangled](std::string_view text) { return mangled.find(text) != std::string::npos; };
    if (mentions("load_helper") || mentions("store_helper") || mentions("_mmu") || mentions("tlb")) {
        return "engine: guest memory";
    }
    if (mentions("tcg_") || mentions("gen_") || mentions("disas") || mentions("translat") || mentions("tb_")) {
        return "engine: translation and its lookup";
    }
    return "engine: rest";
}

}  // namespace

HostTime::HostTime() {
    samples = std::make_unique<std::uintptr_t[]>(capacity);
    count = 0;
    struct sigaction action {};
    action.sa_sigaction = on_tick;
    action.sa_flags = SA_SIGINFO | SA_RESTART;
    sigemptyset(&action.sa_mask);
    sigaction(SIGPROF, &action, nullptr);
    set_period(1000);
}

HostTime::~HostTime() {
    set_period(0);
    signal(SIGPROF, SIG_IGN);
}

HostTime::Shares HostTime::shares() {
    set_period(0);
    const std::vector<Symbol> symbols = own_symbols();
    Shares result;
    for (std::size_t i = 0; i < std::min(count.load(), capacity); ++i) {
        const std::uintptr_t pc = samples[i];
        auto after = std::ranges::upper_bound(symbols, pc, {}, &Symbol::begin);
        Dl_info info;
        std::string part = "translated guest code";
        std::string function = part;
        if (after != symbols.begin() && pc < std::prev(after)->end) {
            part = part_of(std::prev(after)->name);
            function = readable(std::prev(after)->name);
        } else if (dladdr(reinterpret_cast<void*>(pc), &info) && info.dli_fname) {
            const std::string_view path = info.dli_fname;
            part = path.substr(path.rfind('/') + 1);
            function = info.dli_sname ? readable(info.dli_sname) : part;
        }
        ++result.parts[part];
        ++result.functions[function];
    }
    return result;
}

}  // namespace python
