// Rows of processors: what exits take, measured by guests that do nothing else, and how many memory references a
// two-dimensional walk makes.
#include <array>
#include <cstring>
#include <optional>
#include <vector>

#include "models/host.h"
#include "models/profiles.h"
#include "models/validation/validation_row.h"
#include "sim/check.h"
#include "slat/table_writer.h"
#include "slat/two_dimensional.h"

namespace models {

namespace {

// --- Exits -------------------------------------------------------------------------------------------------------

using Code = std::vector<std::uint8_t>;

constexpr const char* exit_profile = "sandy-bridge-ep";

void add_word(Code& to, std::uint32_t word) {
    for (unsigned shift = 0; shift < 32; shift += 8) to.push_back(static_cast<std::uint8_t>(word >> shift));
}

// An ELF file with a multiboot header and 32-bit code: `before` once, `body` that often, then nothing any more.
GuestImage loop(const Code& before, const Code& body, std::uint32_t count) {
    constexpr std::uint32_t place = 0x10'0000, elf_bytes = 52, program_bytes = 32, multiboot_bytes = 12;
    constexpr std::uint32_t header_bytes = elf_bytes + program_bytes + multiboot_bytes, magic = 0x1bad'b002;
    Code code = before;
    code.push_back(0xbd);  // mov ebp, count
    add_word(code, count);
    code.insert(code.end(), body.begin(), body.end());
    code.insert(code.end(), {0x4d, 0x75, static_cast<std::uint8_t>(-static_cast<int>(body.size() + 3))});  // dec, jnz
    code.insert(code.end(), {0xfa, 0xf4});                                                                 // cli, hlt
    const auto file_bytes = static_cast<std::uint32_t>(header_bytes + code.size());
    Code file;
    for (const std::uint32_t word : {
             0x464c'457fu, 0x0001'0101u, 0u,
             0u,  // ELF, 32 bits, little-endian
             0x0003'0002u, 1u,           place + header_bytes,
             elf_bytes,  // an executable for the 386; entry; program headers
             0u,           0u,           elf_bytes | program_bytes << 16,
             1u,           0u,  // one of them
             1u,           0u,           place,
             place,        file_bytes,   file_bytes,
             7u,           4096u,  // all of the file, loaded there
             magic,        0u,           0 - magic,
         }) {
        add_word(file, word);
    }
    file.insert(file.end(), code.begin(), code.end());
    GuestImage image;
    image.kind = GuestImage::Kind::elf;
    image.kernel.resize(file.size());
    std::memcpy(image.kernel.data(), file.data(), file.size());
    return image;
}

sim::Time run_to_its_halt(const GuestImage& image) {
    sim::Simulation simulation{1};
    HostConfig config;
    config.profile = exit_profile;
    config.memory_bytes = std::uint64_t{64} << 20;
    const auto host = Host::create(simulation, config);
    PartitionConfig partition;
    partition.name = "exits";
    partition.memory_bytes = std::uint64_t{16} << 20;
    partition.guest = image;
    host->add_partition(partition);
    const Host::Stopped why = host->run(
        sim::Time::s(1), [] { return false; }, sim::Time::never());
    VG_CHECK(why == Host::Stopped::idle, "the guest does not come to its end");
    return host->now();
}

// Thousandths of a cycle that one turn of the loop takes.
std::int64_t cycles_of(const Code& before, const Code& body) {
    constexpr std::uint32_t few = 1000, many = 3000;
    const sim::Time more = run_to_its_halt(loop(before, body, many)) - run_to_its_halt(loop(before, body, few));
    const std::uint64_t hz = find_profile(exit_profile).core_hz;
    const sim::u128 millicycles = static_cast<sim::u128>(more.ps()) * hz * 1000 / sim::picoseconds_per_second;
    return static_cast<std::int64_t>(millicycles / (many - few));
}

// wrmsr of constants
Code write_msr(std::uint32_t number, std::uint32_t value) {
    Code code{0xb9};  // mov ecx
    add_word(code, number);
    code.push_back(0xb8);  // mov eax
    add_word(code, value);
    code.insert(code.end(), {0x31, 0xd2, 0x0f, 0x30});  // xor edx, edx; wrmsr
    return code;
}

// The guest's identity and its hypercall page, without which there are no hypercalls.
Code enable_hypercalls() {
    Code code = write_msr(0x4000'0000, 1);
    const Code page = write_msr(0x4000'0001, 0x20'0001);
    code.insert(code.end(), page.begin(), page.end());
    return code;
}

}  // namespace

void add_exit_rows(ValidationRows& rows) {
    const std::string source = "a 2.1 GHz E5-2450 under KVM; constants of `sandy-bridge-ep` come from these";
    const auto add = [&](const char* what, std::int64_t published, const Code& before, const Code& body) {
        rows.push_back({"18", what, "cycles", published * 1000, cycles_of(before, body),
                        percent_of(published * 1000, 5), Basis::calibrated, source});
    };
    // xor eax, eax; xor edx, edx; vmmcall: a hypercall of no known code
    add("null hypercall", 1300, enable_hypercalls(), {0x31, 0xc0, 0x31, 0xd2, 0x0f, 0x01, 0xd9});
    add("exit to user space: a port that the root emulates", 6732, {}, {0xe6, 0x70});  // out 0x70, al
    add("virtual EOI", 1556, {}, write_msr(0x4000'0070, 0));
}

void add_cpuid_rows(ValidationRows& rows) {
    constexpr std::int64_t least = 1'018'000, most = 1'098'000;
    rows.push_back({"19", "CPUID: exit and entry", "cycles", (least + most) / 2,
                    cycles_of({}, {0x31, 0xc0, 0x0f, 0xa2}), percent_of((least + most) / 2, 5), Basis::calibrated,
                    "current servers: 1,018 to 1,098 cycles"});
}

// --- Walks -------------------------------------------------------------------------------------------------------

namespace {

constexpr std::uint64_t guest_bytes = 0x40'0000, memory_bytes = 0x80'0000;

struct Pages final : slat::TablePages {
    explicit Pages(mmu::SystemMemory m) : memory(m) {}
    std::optional<mmu::u64> allocate_table() override {
        if (next + 4096 > memory_bytes || !memory.fill(next, 4096, std::byte{0})) return std::nullopt;
        next += 4096;
        return next - 4096;
    }
    void free_table(mmu::u64) override {}

    mmu::SystemMemory memory;
    std::uint64_t next = guest_bytes;
};

// Of a guest whose tables are pages 1 to 4, by their level.
std::int64_t references(slat::Format format, unsigned guest_leaf, mmu::u8 nested_shift) {
    std::vector<std::byte> bytes(memory_bytes);
    const mmu::SystemMemory memory{bytes.data(), bytes.size()};
    Pages pages{memory};
    slat::TableWriter writer{{.format = format}, memory, pages};
    VG_CHECK(writer.create() == slat::Edit::ok);
    VG_CHECK(writer.map_range(0, 0, std::uint64_t{1} << 30, {}, nested_shift) == slat::Edit::ok);
    mmu::PagingState state;
    state.cr0 = mmu::cr0::pg | mmu::cr0::wp;
    state.cr4 = mmu::cr4::pae;
    state.efer = mmu::efer::lma | mmu::efer::lme | mmu::efer::nxe;
    state.cr3 = std::uint64_t{4} << 12;
    for (unsigned level = 4; level >= guest_leaf; --level) {
        const mmu::u64 target = level > guest_leaf ? std::uint64_t{level - 1} << 12 : level > 1 ? mmu::pte::large : 0;
        memory.store<mmu::u64>(std::uint64_t{level} << 12, target | mmu::pte::present | mmu::pte::writable);
    }
    const auto walk = slat::walk(state, writer.second_level(), memory, 0x123, {mmu::Access::read});
    VG_CHECK(walk.ok());
    return walk.references;
}

}  // namespace

void add_walk_rows(ValidationRows& rows) {
    struct Published {
        const char* pages;
        unsigned guest_leaf;
        mmu::u8 nested_shift;
        std::int64_t references;
    };
    static constexpr std::array published{
        Published{"4 KiB on 4 KiB", 1, mmu::shift_4k, 24}, Published{"4 KiB on 2 MiB", 1, mmu::shift_2m, 19},
        Published{"2 MiB on 2 MiB", 2, mmu::shift_2m, 15}, Published{"4 KiB on 1 GiB", 1, mmu::shift_1g, 14},
        Published{"1 GiB on 1 GiB", 3, mmu::shift_1g, 8},
    };
    for (const auto& [name, format] :
         {std::pair{"nested page tables", slat::Format::npt}, std::pair{"extended page tables", slat::Format::ept}}) {
        for (const Published& one : published) {
            rows.push_back({"22", std::string{name} + ", " + one.pages, "references", one.references * 1000,
                            references(format, one.guest_leaf, one.nested_shift) * 1000, 0, Basis::analytic,
                            "four levels on four: 5 times 5, less 1"});
        }
    }
}

}  // namespace models
