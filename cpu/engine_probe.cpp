// Start-up of the engine: where it keeps its state, whether the layout in engine_state.h is the one of this build, and
// the switch into guest mode. Everything is found and verified by sentinels; nothing is assumed of a version.
#include <malloc.h>
#include <unicorn/unicorn.h>

#include <algorithm>
#include <cstring>
#include <limits>
#include <vector>

#include "cpu/engine.h"
#include "cpu/engine_hidden.h"
#include "sim/check.h"

namespace cpu {

namespace {

// The probe's code lies at the bottom of system memory; everything else is refused.
struct ProbeTranslator final : PageTranslator {
    bool translate_page(std::uint64_t page, mmu::Access access, PageTranslation& out) override {
        if (page != 0 || access != mmu::Access::execute) return false;
        out = PageTranslation{0, true, false, true};
        return true;
    }
};

constexpr const char* wrong_engine =
    "this build of Unicorn keeps its processor state elsewhere than 2.1.1 does; install Unicorn 2.1 (./verdigris "
    "doctor)";

void expect(bool as_expected, const char* what) {
    if (!as_expected) throw sim::UserError(std::string{wrong_engine} + " (looked at: " + what + ")");
}

constexpr std::uint64_t intercept_bit(unsigned exit_code) {
    return 1ull << (exit_code - 0x60);
}

}  // namespace

void Engine::probe() {
    unsigned major = 0;
    unsigned minor = 0;
    uc_version(&major, &minor);
    if (major != 2 || minor < 1)
        throw sim::UserError("Unicorn 2.1 or later is needed; ./verdigris doctor tells what is there");

    const std::uint32_t mxcsr = 0x1f80;
    const std::uint16_t control_word = 0x37f;
    require(uc_reg_write(uc_, UC_X86_REG_MXCSR, &mxcsr), "set MXCSR");
    require(uc_reg_write(uc_, UC_X86_REG_FPCW, &control_word), "set the x87 control word");
    require(uc_context_save(uc_, scratch_), "save the pristine context");

    current_tsc_reader = this;
    std::array<std::byte, 64> below{};
    VG_CHECK(memory_.read(0, below));

    // RDTSC; UD2. The wrapped clock call (engine_wraps.cpp) is handed the state.
    execute_probe(0, std::array<std::uint8_t, 4>{0x0f, 0x31, 0x0f, 0x0b});
    expect(state_ != &pristine_ && stop_.reason == StopReason::exception && stop_.code == 6, "where the state is");

    // MOV RAX, [disp32]: refused, and the engine notes the linear address somewhere in its main structure: in the one
    // word that shows both of two such addresses.
    const auto* words = reinterpret_cast<const volatile std::uint64_t*>(uc_);
    const std::size_t count = malloc_usable_size(uc_) / sizeof(std::uint64_t);
    std::vector<unsigned> seen(count);
    for (const std::uint32_t address : {0x1234'5610u, 0x2345'6720u}) {
        std::array<std::uint8_t, 8> load{0x48, 0x8b, 0x04, 0x25};
        std::memcpy(load.data() + 4, &address, 4);
        execute_probe(address & 0xff, load);
        expect(stop_.reason == StopReason::translation, "a refused access");
        for (std::size_t i = 0; i < count; ++i) seen[i] += words[i] == address ? 1 : 0;
    }
    expect(std::count(seen.begin(), seen.end(), 2u) == 1, "the fault's address");
    fault_address_ = words + (std::find(seen.begin(), seen.end(), 2u) - seen.begin());

    VG_CHECK(memory_.write(0, below));
    drop_code(0);
    verify_layout();
    require(uc_context_restore(uc_, scratch_), "restore the pristine context");
    std::memcpy(&pristine_, state_, sizeof pristine_);
    set_up_guest_mode();
    for (Block& block : block_table_) block = Block{};
    for (CodePage& page : code_pages_) page = CodePage{};
    instructions_ = blocks_ = fills_ = 0;
}

// Each probe has its own address: what was translated stays translated until the probe is over.
void Engine::execute_probe(std::uint64_t address, std::span<const std::uint8_t> code) {
    VG_CHECK(memory_.write(address, std::as_bytes(code)));
    ProbeTranslator translator;
    translator_ = &translator;
    limit_ps_ = hook_limit_ps_ = std::numeric_limits<std::int64_t>::max();
    stopped_ = false;
    stop_ = Stop{};
    (void)uc_emu_start(uc_, address, ~0ull, 0, 0);
    translator_ = nullptr;
}

// Sentinels go in through the public register interface and must appear where engine_state.h says.
void Engine::verify_layout() {
    const EngineState& s = *state_;
    const auto write = [this](int reg, std::uint64_t value) {
        require(uc_reg_write(uc_, reg, &value), "write a sentinel");
    };
    constexpr std::array<int, 16> gprs{UC_X86_REG_RAX, UC_X86_REG_RCX, UC_X86_REG_RDX, UC_X86_REG_RBX,
                                       UC_X86_REG_RSP, UC_X86_REG_RBP, UC_X86_REG_RSI, UC_X86_REG_RDI,
                                       UC_X86_REG_R8,  UC_X86_REG_R9,  UC_X86_REG_R10, UC_X86_REG_R11,
                                       UC_X86_REG_R12, UC_X86_REG_R13, UC_X86_REG_R14, UC_X86_REG_R15};
    for (std::size_t i = 0; i < gprs.size(); ++i) {
        write(gprs[i], 0x1122'3344'5566'0000 + i);
        expect(s.gpr[i] == 0x1122'3344'5566'0000 + i, "general registers");
    }
    write(UC_X86_REG_RIP, 0x7766'5544);
    expect(s.rip == 0x7766'5544, "RIP");
    write(UC_X86_REG_EFLAGS, 0x4d7);
    expect(s.df == -1, "DF");
    write(UC_X86_REG_EFLAGS, 0x202);
    expect(s.df == 1 && (s.rflags & 0x200) != 0, "RFLAGS");
    const auto table = [this](int reg, std::uint64_t base, std::uint32_t limit) {
        uc_x86_mmr value{.selector = 0, .base = base, .limit = limit, .flags = 0};
        require(uc_reg_write(uc_, reg, &value), "write a sentinel");
    };
    table(UC_X86_REG_GDTR, 0x1111'2222'3333, 0x77);
    expect(s.gdt.base == 0x1111'2222'3333 && s.gdt.limit == 0x77, "GDTR");
    table(UC_X86_REG_IDTR, 0x4444'5555'6666, 0x88);
    expect(s.idt.base == 0x4444'5555'6666 && s.idt.limit == 0x88, "IDTR");
    write(UC_X86_REG_FS_BASE, 0x1234'0000'0001);
    write(UC_X86_REG_GS_BASE, 0x1234'0000'0002);
    expect(s.segments[4].base == 0x1234'0000'0001 && s.segments[5].base == 0x1234'0000'0002, "FS and GS");
    const auto msr = [this](std::uint32_t number, std::uint64_t value) {
        uc_x86_msr sentinel{.rid = number, .value = value};
        require(uc_reg_write(uc_, UC_X86_REG_MSR, &sentinel), "write a sentinel");
    };
    msr(0xc0000081, 0x1357'0001);
    msr(0xc0000082, 0x1357'0002);
    msr(0xc0000083, 0x1357'0003);
    msr(0xc0000084, 0x1357'0004);
    msr(0xc0000102, 0x1357'0005);
    msr(0x176, 0x1357'0006);
    expect(s.star == 0x1357'0001 && s.lstar == 0x1357'0002 && s.cstar == 0x1357'0003 && s.fmask == 0x1357'0004 &&
               s.kernel_gs_base == 0x1357'0005 && s.sysenter_eip == 0x1357'0006,
           "system-call MSRs");
    write(UC_X86_REG_CR2, 0x2468'0001);
    expect(s.cr[2] == 0x2468'0001, "CR2");
    write(UC_X86_REG_DR0, 0x2468'0002);
    expect(s.dr[0] == 0x2468'0002, "DR0");
    for (int n : {0, 1, 15}) {
        const std::array<std::uint64_t, 2> value{0xaabb'0000'0000'0001ull + static_cast<unsigned>(n),
                                                 0xccdd'0000'0000'0002ull};
        require(uc_reg_write(uc_, UC_X86_REG_XMM0 + n, value.data()), "write a sentinel");
        expect(std::memcmp(s.floating_point.data() + engine_xmm_offset + static_cast<unsigned>(n) * engine_xmm_stride,
                           value.data(), 16) == 0,
               "SSE registers");
    }
    // The public context is an image of the state up to and including the last field we know.
    uc_context* image = nullptr;
    require(uc_context_alloc(uc_, &image), "allocate a context");
    require(uc_context_save(uc_, image), "save a context");
    const std::size_t header = uc_context_size(uc_) - sizeof(EngineState);
    bool same = false;
    for (std::size_t offset = 8; offset <= header && header < 64; ++offset) {
        same =
            same || std::memcmp(reinterpret_cast<const std::byte*>(image) + offset, state_, sizeof(EngineState)) == 0;
    }
    uc_context_free(image);
    expect(same, "the context's image");
}

void Engine::set_up_guest_mode() {
    const std::uint64_t io_map = hidden_spa + hidden_io_map;
    const std::uint64_t msr_map = hidden_spa + hidden_msr_map;
    std::memcpy(hidden_ + 0x40, &io_map, sizeof io_map);
    std::memcpy(hidden_ + 0x48, &msr_map, sizeof msr_map);
    std::memset(hidden_ + hidden_io_map, 0xff, 0x3000 + 1);
    std::memset(hidden_ + hidden_msr_map, 0xff, 0x2000);
    // The engine reads these by itself; what holds an address is written by us, who check it (bit 1 of two is the
    // write).
    for (const std::uint32_t msr :
         {0xc0000081u, 0xc0000082u, 0xc0000083u, 0xc0000084u, 0xc0000100u, 0xc0000101u, 0xc0000102u}) {
        const std::uint32_t bit = (8192 + msr - 0xc0000000u) * 2;
        const bool plain = msr == 0xc0000081u || msr == 0xc0000084u;
        hidden_[hidden_msr_map + bit / 8] &= ~std::byte((plain ? 3 : 1) << (bit % 8));
    }
    EngineState& s = pristine_;
    s.hflags |= hflag::svme | hflag::guest;
    s.hflags2 |= hflag2_gif;
    s.old_exception = -1;
    s.exception_is_int = 0;
    s.vm_vmcb = hidden_spa;
    s.cc_op = cc_op_flags_in_source;
    s.efer = 0;
    // RDPMC CPUID RSM INVD HLT INVLPGA IOIO MSR SHUTDOWN VMRUN VMMCALL VMLOAD VMSAVE STGI CLGI SKINIT WBINVD MONITOR
    // MWAIT (and its conditional form) XSETBV
    for (const unsigned code : {0x6fu, 0x72u, 0x73u, 0x76u, 0x78u, 0x7au, 0x7bu, 0x7cu, 0x7fu, 0x80u, 0x81u,
                                0x82u, 0x83u, 0x84u, 0x85u, 0x86u, 0x89u, 0x8au, 0x8bu, 0x8cu, 0x8du}) {
        s.intercept |= intercept_bit(code);
    }
    s.intercept_cr_read = 1u << 8;
    s.intercept_cr_write = 1u << 0 | 1u << 3 | 1u << 4 | 1u << 8;
    s.intercept_dr_write = 0xff;
    if (options_.timed) {
        s.intercept |= intercept_bit(0x79);  // INVLPG
    }
}

}  // namespace cpu
