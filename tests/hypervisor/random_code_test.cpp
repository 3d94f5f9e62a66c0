// Guests that execute noise, in states that nobody would choose, and write random registers of their own: the
// simulator never stops, time always goes on, and the neighbour's memory stays what it was.
#include "sim/random.h"
#include "tests/effort.h"
#include "whole_machine.h"

namespace random_code_test {

using namespace hypervisor;
using namespace hypervisor::test;

namespace {

// Opcodes that lead somewhere, among random bytes: system instructions, string instructions, far jumps, prefixes.
constexpr std::uint8_t openings[] = {0x0f, 0x0f, 0x0f, 0x0f, 0x66, 0x67, 0xf0, 0xf2, 0xf3, 0x48, 0x41, 0x2e,
                                     0x65, 0xa4, 0xa5, 0xaa, 0xab, 0xac, 0xae, 0x6c, 0x6d, 0x6e, 0x6f, 0x9a,
                                     0xea, 0xcd, 0xcc, 0xce, 0xcf, 0xcb, 0xca, 0xc3, 0xe8, 0xe9, 0xeb, 0xff,
                                     0x8e, 0x8f, 0xc4, 0xc5, 0xd8, 0xdb, 0xdf, 0xe4, 0xe6, 0xec, 0xee, 0xf4,
                                     0xfa, 0xfb, 0xfd, 0x9c, 0x9d, 0x06, 0x07, 0x1f, 0x60, 0x61, 0x62, 0x63};
constexpr std::uint8_t second_bytes[] = {0x00, 0x01, 0x02, 0x05, 0x06, 0x07, 0x08, 0x09, 0x0b, 0x20, 0x21, 0x22,
                                         0x23, 0x30, 0x31, 0x32, 0x33, 0x34, 0x35, 0xa2, 0xaa, 0xae, 0xb0, 0xc7};
constexpr std::uint32_t msrs[] = {0x10,        0x1b,        0x6e0,       0x277,       0x80b,       0x80f,
                                  0x830,       0x832,       0x838,       0x83f,       0xc000'0080, 0xc000'0082,
                                  0x4000'0000, 0x4000'0001, 0x4000'0021, 0x4000'0070, 0x4000'0071, 0x4000'0073,
                                  0x4000'0080, 0x4000'0083, 0x4000'0092, 0x4000'00b0, 0x4000'00b1, 0x4000'00f0};

Code make_noise(sim::Random& random) {
    Code code;
    while (code.bytes.size() < 400) {
        switch (random.below(10)) {
            case 0:
            case 1:
                code.raw({0x0f, second_bytes[random.below(std::size(second_bytes))]});
                break;
            case 2:
                code.raw({openings[random.below(std::size(openings))]});
                break;
            case 3: {
                const std::uint64_t value = random.next_u64() >> random.below(64);
                code.wrmsr(msrs[random.below(std::size(msrs))], random.one_in(3) ? (value & 0x1f'f000) | 1 : value);
                break;
            }
            case 4:
                code.rdmsr(msrs[random.below(std::size(msrs))]);
                break;
            case 5:  // a hypercall, often of register writes from somewhere in memory
                code.mov_ecx(random.one_in(2) ? 0x51 : static_cast<std::uint32_t>(random.below(0x100)))
                    .mov_edx(static_cast<std::uint32_t>(random.below(0x8000)) & ~7u)
                    .raw({0x0f, 0x01, 0xd9});
                break;
            case 6:
                code.mov_eax(static_cast<std::uint32_t>(random.next_u64())).raw({0x0f, 0x22, 0xc0});  // MOV CR0
                break;
            default:
                code.raw({static_cast<std::uint8_t>(random.next_u64())});
        }
    }
    return code;
}

std::uint64_t word(sim::Random& random) {
    switch (random.below(4)) {
        case 0:
            return random.below(0x20'0000);
        case 1:
            return random.next_u64() >> random.below(64);
        case 2:
            return 0xfee0'0000 + random.below(0x1000);
        default:
            return random.next_u64();
    }
}

void disturb(WholeMachine& m, std::uint32_t vp, sim::Random& random) {
    for (std::uint64_t n = random.below(6); n > 0; --n) {
        static constexpr std::uint32_t families[] = {0x2'0000, 0x2'0008, 0x4'0000, 0x5'0000, 0x6'0000, 0x7'0000,
                                                     0x8'0000, 0x8'4800, 0x1'0000, 0x9'0000, 0xa'0000, 0xb'0000};
        const HvRegister name{families[random.below(std::size(families))] +
                              static_cast<std::uint32_t>(random.below(20))};
        (void)m.client->set_register(2, vp, name, {word(random), word(random)});
    }
}

// Jumps, stores and copies within the code itself.
void entangle(Code& code, sim::Random& random) {
    const std::uint8_t near = static_cast<std::uint8_t>(random.next_u64());
    const std::initializer_list<std::uint8_t> parts[] = {
        {0xeb, near}, {0xaa, 0xf3, 0xa4}, {0x88, 0x07}, {0x9d}, {0xe9, near, 0x00, 0x00, 0x00}};
    for (int n = 0; n < 8; ++n) {
        std::size_t at = random.below(390);
        for (const std::uint8_t byte : parts[random.below(std::size(parts))]) code.bytes[at++] = byte;
    }
}

// Somewhere else than in 64-bit mode at CPL 0, where start() leaves it.
void change_mode(WholeMachine& m, std::uint32_t vp, sim::Random& random) {
    using R = HvRegister;
    const auto set = [&](R name, std::uint64_t low, std::uint64_t high = 0) {
        REQUIRE(m.client->set_register(2, vp, name, {low, high}) == HvStatus::success);
    };
    const auto segment = [](std::uint64_t limit, std::uint64_t selector, std::uint64_t attributes) {
        return limit | selector << 32 | attributes << 48;
    };
    if (random.one_in(4)) set(R::x64_rsp, 0x1000 + random.below(0x1400));
    if (random.one_in(4)) set(R::x64_rflags, random.next_u64() & 0x3'7fd7);
    if (random.one_in(6)) set(R::x64_rip, 0x1f80 + random.below(0x100));
    switch (random.below(6)) {
        case 0:  // real mode
            set(R::x64_efer, 0);
            set(R::x64_cr0, 0x10);
            set(R::x64_cr4, 0);
            set(R::x64_cs, 0, segment(0xffff, 0, 0x9b));
            break;
        case 1:
        case 2:  // protected mode without paging, of 32 or 16 bits
            set(R::x64_efer, 0);
            set(R::x64_cr0, 0x11);
            set(R::x64_cr4, random.one_in(2) ? 0 : 0x10);
            set(R::x64_cs, 0, segment(0xffff'ffff, 8, random.one_in(2) ? 0xc09b : 0x809b));
            if (random.one_in(2)) set(R::x64_tr, place::tss, segment(0x67, 0x18, 0x8b));
            break;
        case 3:  // CPL 3
            set(R::x64_cs, 0, segment(0xffff'ffff, 0x1b, 0xa0fb));
            set(R::x64_ss, 0, segment(0xffff'ffff, 0x23, 0xc0f3));
            break;
        default:
            break;
    }
}

struct Noise {
    std::uint64_t seed;
    int rounds = effort(3000);
    bool any_mode = false;
    std::uint32_t lps = 1;
    std::uint32_t vps = 1;
    Time quantum = Time::us(1);
    bool timed = false;
    std::int64_t instruction_ps = 1000;
};

void run_noise(const Noise& noise) {
    sim::Random random{noise.seed, "random_code"};
    HypervisorConfig config = round_numbers(1);
    config.quantum = noise.quantum;
    config.timed = noise.timed;
    if (noise.instruction_ps != 1000) config.instruction_costs.ps.fill(noise.instruction_ps);
    WholeMachine m{noise.lps, config};
    const PartitionId id = m.guest(noise.vps);
    const PartitionId neighbour = m.guest();
    m.start(0, Code{}.inc_at(static_cast<std::uint32_t>(place::data)).hlt(), neighbour);
    m.run();
    const std::uint64_t foreign = m.spa.at(neighbour);
    const std::vector<std::byte> before(m.bytes.begin() + static_cast<std::ptrdiff_t>(foreign),
                                        m.bytes.begin() + static_cast<std::ptrdiff_t>(foreign + 0x20'0000));
    for (int round = 0; round < noise.rounds; ++round) {
        // Tables as they should be, now and then, and nothing laid over them; else what the last one left.
        if (round % 4 == 0) {
            for (const HvRegister page : {HvRegister::guest_os_id, HvRegister::reference_tsc, HvRegister::simp,
                                          HvRegister::siefp, HvRegister::vp_assist_page}) {
                m.set(page, 0);
            }
            m.write_tables(id);
        }
        const bool handlers = !noise.any_mode || !random.one_in(4);
        for (std::uint64_t v = 0; handlers && v < 32; ++v) m.handler(static_cast<std::uint8_t>(v), Code{}.iretq());
        for (std::uint32_t vp = 0; vp < noise.vps; ++vp) {
            Code code = make_noise(random);
            if (noise.any_mode && random.one_in(3)) entangle(code, random);
            m.start(vp, code);
            for (std::uint32_t r = 0; r < 16; ++r) {
                const bool near_code = noise.any_mode && random.one_in(3);
                if (r != 4)
                    m.set(HvRegister{0x2'0000 + r}, near_code ? 0x1000 + random.below(0x1400) : word(random), vp);
            }
            if (noise.any_mode) change_mode(m, vp, random);
            // What would keep a processor from running for ever.
            m.set(HvRegister::x64_dr6, 0xffff'0ff0, vp);
            m.set(HvRegister::x64_dr7, 0x400, vp);
            m.set(HvRegister::x64_pat, 0x0007'0406'0007'0406, vp);
            disturb(m, vp, random);
            m.set(HvRegister::intercept_suspend, 0, vp);
        }
        const Time end = m.simulation.agenda().now() + Time::us(4);
        // Each event at one instant makes progress: far fewer than a stuck loop would need.
        for (int events = 0; m.simulation.agenda().next_event() < end; ++events) {
            REQUIRE(events < 100'000);
            REQUIRE(m.simulation.agenda().run_next());
        }
        for (std::uint32_t vp = 0; vp < noise.vps; ++vp) m.set(HvRegister::explicit_suspend, 1, vp);
        m.simulation.agenda().run_until(end);
        if (m.root.intercepts.size() > 1000) m.root.intercepts.clear();
    }
    CHECK(m.hypervisor->instructions(id) > static_cast<std::uint64_t>(noise.rounds) * 16);
    CHECK(std::equal(before.begin(), before.end(), m.bytes.begin() + static_cast<std::ptrdiff_t>(foreign)));
    CHECK(m.client->finalize_partition(id) == HvStatus::success);
    CHECK(m.client->delete_partition(id) == HvStatus::success);
}

}  // namespace

TEST_CASE("noise as a guest") {
    for (std::uint64_t seed = 1; seed <= 4; ++seed) {
        CAPTURE(seed);
        run_noise({.seed = seed});
    }
}

TEST_CASE("noise in every mode, on several processors, over its own code") {
    const Noise rows[] = {
        {.seed = 11, .rounds = 80, .any_mode = true, .lps = 2, .vps = 3, .quantum = Time::us(100)},
        {.seed = 12, .rounds = 80, .any_mode = true, .vps = 2, .quantum = Time::zero()},
        {.seed = 13, .rounds = 80, .any_mode = true, .lps = 2, .vps = 2, .quantum = Time::ns(50), .timed = true},
        {.seed = 14, .rounds = 20, .any_mode = true, .instruction_ps = 20},
    };
    for (const Noise& row : rows) {
        CAPTURE(row.seed);
        run_noise(row);
    }
}

}  // namespace random_code_test
