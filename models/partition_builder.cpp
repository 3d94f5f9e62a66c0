#include "models/partition_builder.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "hypervisor/partition.h"
#include "hypervisor/synthetic_processor.h"
#include "hypervisor/vp_registers.h"
#include "models/acpi/tables.h"
#include "models/loaders/boot_image.h"
#include "sim/check.h"

namespace models {

namespace h = hypervisor;

namespace {

constexpr std::uint32_t full_percent = 100'000;  // 1/1000 percent
constexpr std::uint64_t vendor_amd = 0;          // which stands for nested page tables

// 1/1000 percent to 1/65536; what is not nothing stays so.
std::uint64_t share_of(std::uint32_t thousandths) {
    const std::uint64_t share = std::uint64_t{thousandths} * h::full_share / full_percent;
    return thousandths != 0 ? std::max<std::uint64_t>(share, 1) : 0;
}

// Tables if every page were mapped singly, objects, and the overlay pages of every processor, with room to spare: a
// guest that places overlays must not fail because the root was mean. A behavioural guest keeps all of its memory, in
// large pages, but where its overlays are.
std::uint64_t deposit_for(const PartitionConfig& config) {
    constexpr std::uint64_t base = 64, per_vp = 32, entries = 512;
    const std::uint64_t mapped_by = config.behavioural ? large_page_bytes : page_bytes;
    return base + per_vp * config.vps + config.memory_bytes / mapped_by / entries;
}

std::string mib(std::uint64_t bytes) {
    return fmt::format("{} MiB", bytes >> 20);
}

std::uint64_t existing_processors(unsigned cores) {
    return cores >= 64 ? ~std::uint64_t{0} : (std::uint64_t{1} << cores) - 1;
}

// Everything of cpu::Registers that has a name in the TLFS.
std::vector<h::HvRegister> boot_registers() {
    std::vector<h::HvRegister> names;
    const auto range = [&names](h::HvRegister first, h::HvRegister last) {
        for (auto n = static_cast<std::uint32_t>(first); n <= static_cast<std::uint32_t>(last); ++n) {
            names.push_back(h::HvRegister{n});
        }
    };
    range(h::HvRegister::x64_rax, h::HvRegister::x64_rflags);
    range(h::HvRegister::x64_efer, h::HvRegister::x64_efer);
    range(h::HvRegister::x64_cr0, h::HvRegister::x64_cr4);
    range(h::HvRegister::x64_es, h::HvRegister::x64_tr);
    range(h::HvRegister::x64_idtr, h::HvRegister::x64_gdtr);
    range(h::HvRegister::x64_pat, h::HvRegister::x64_pat);
    return names;
}

}  // namespace

void check_partition(const PartitionConfig& config, const HostConfig& host) {
    const auto refuse = [&config](const std::string& why) {
        throw sim::UserError(fmt::format("partition '{}': {}", config.name, why));
    };
    if (config.name.empty()) throw sim::UserError("a partition needs a name: letters, digits, '-' or '_'");
    const bool plain = std::all_of(config.name.begin(), config.name.end(), [](char c) {
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
    });
    if (!plain) refuse("a name has letters, digits, '-' and '_' only");
    if (config.vps == 0) refuse("it needs at least one virtual processor");
    if (config.vps > h::max_vps_per_partition) {
        refuse(fmt::format("{} virtual processors: a partition has at most {}", config.vps, h::max_vps_per_partition));
    }
    if (config.weight < h::min_weight || config.weight > h::max_weight) {
        refuse(fmt::format("weight {}: give one from {} to {}", config.weight, h::min_weight, h::max_weight));
    }
    if (config.generation != 1 && config.generation != 2) {
        refuse(fmt::format("generation {}: there are 1 and 2", config.generation));
    }
    if (config.behavioural && config.screen) refuse("a behavioural guest draws nothing: it has no screen");
    if (config.generation == 1 && config.screen) refuse("a screen is a device of generation 2");
    if (config.reserve > full_percent) refuse("a reserve is at most 100 percent of a processor");
    if (config.cap > full_percent) refuse("a cap is at most 100 percent of a processor");
    if (config.cap != 0 && config.reserve > config.cap) refuse("its reserve is above its cap");
    if (config.node && *config.node >= host.nodes) {
        refuse(fmt::format("node {}: the host has {}", *config.node, host.nodes));
    }
    if (config.node && config.spans_nodes) refuse("its memory is of one node, or spans them: not both");
    if ((config.affinity & existing_processors(host.cores)) == 0) {
        refuse(fmt::format("affinity {:#x} names none of the host's {} processors", config.affinity, host.cores));
    }
}

void PartitionBuilder::check_memory(const PartitionConfig& config) const {
    const std::uint64_t screen = config.screen ? Screen::memory.length / page_bytes : 0;
    const std::uint64_t wanted = config.memory_bytes / page_bytes + screen + deposit_for(config);
    if (wanted <= pages_.free_pages()) return;
    throw sim::UserError(fmt::format(
        "partition '{}' wants {} ({} with what the hypervisor needs for it), the host has {} free: give the host more "
        "memory or the partition less",
        config.name, mib(config.memory_bytes), mib(wanted * page_bytes + (1 << 20) - 1),
        mib(pages_.free_pages() * page_bytes)));
}

namespace {

AddressRange memory_of_node(const NumaNodes& numa, unsigned node) {
    return {node * numa.bytes_of_each(), numa.bytes_of_each()};
}

}  // namespace

// On a host with several nodes: which node's memory and processors it gets, if the scenario leaves it open.
PartitionConfig PartitionBuilder::placed(const PartitionConfig& config, const HostConfig& host) const {
    PartitionConfig result = config;
    const NumaNodes numa = host.numa();
    if (!numa.several() || config.spans_nodes) return result;
    const std::uint64_t all = existing_processors(host.cores);
    const bool anywhere = (config.affinity & all) == all;
    const std::uint64_t wanted = config.memory_bytes / page_bytes;
    if (!config.node) {
        std::uint64_t most_free = 0;
        for (unsigned node = 0; node < numa.count; ++node) {
            const bool inside = (config.affinity & all & ~numa.processors_of(node)) == 0;
            const std::uint64_t free = pages_.free_pages(memory_of_node(numa, node));
            const bool fits = free >= wanted + deposit_for(config) && config.vps <= numa.processors_of_each();
            if (inside) {
                if (free >= wanted) result.node = node;
                break;
            }
            if (!anywhere || !fits || free <= most_free) continue;
            most_free = free;
            result.node = node;
        }
        result.spans_nodes = !result.node;
    }
    if (anywhere && result.node) result.affinity = numa.processors_of(*result.node);
    return result;
}

PartitionBuilder::Built PartitionBuilder::build(const PartitionConfig& given, const HostConfig& host) {
    check_partition(given, host);
    const PartitionConfig config = placed(given, host);
    Built built;
    try {
        const MemoryLayout layout = MemoryLayout::of_size(config.memory_bytes);
        check_memory(config);
        create(built, config, host);
        map_memory(built, config, host, layout);
        if (!config.behavioural) load(built, config, layout);
    } catch (const sim::UserError& error) {
        take_down(built);
        const std::string text = error.what();
        if (text.find("partition '" + config.name + "'") != std::string::npos) throw;
        throw sim::UserError(fmt::format("partition '{}': {}", config.name, text));
    }
    return built;
}

namespace {

// Hypercalls that can fail only through a mistake of ours or for want of memory.
void demand(h::HvStatus status, const PartitionConfig& config, const char* what) {
    if (status == h::HvStatus::success) return;
    if (status == h::HvStatus::insufficient_memory) {
        throw sim::UserError(fmt::format("partition '{}': the host's memory does not suffice ({})", config.name, what));
    }
    VG_CHECK(false, fmt::format("{}: hypercall status {:#x}", what, static_cast<unsigned>(status)));
}

}  // namespace

void PartitionBuilder::create(Built& built, const PartitionConfig& config, const HostConfig& host) {
    namespace flag = h::create_partition_flag;
    const auto created = client_.create_partition(flag::lapic_enabled | flag::x2apic_capable);
    if (created.status == h::HvStatus::no_resources) {
        throw sim::UserError(fmt::format("partition '{}': a host has at most {} partitions, its root among them",
                                         config.name, h::max_partitions));
    }
    demand(created.status, config, "create the partition");
    built.id = *created;
    demand(client_.deposit(built.id, deposit_for(config)), config, "deposit memory");

    const std::uint64_t cap = config.cap == 0 ? h::cpu_cap_max : share_of(config.cap);
    const std::pair<h::HvPartitionProperty, std::uint64_t> properties[] = {
        {h::HvPartitionProperty::privilege_flags, h::child_privileges},
        {h::HvPartitionProperty::processor_vendor, vendor_amd},
        {h::HvPartitionProperty::processors_per_socket, config.vps},
        {h::scheduling_affinity_set, config.affinity & existing_processors(host.cores)},
        {h::HvPartitionProperty::cpu_weight, config.weight},
        {h::HvPartitionProperty::cpu_cap, cap},
        {h::behavioural_processors, config.behavioural ? 1u : 0u},
    };
    for (const auto& [property, value] : properties) {
        demand(client_.set_property(built.id, property, value), config, "set a property of the partition");
    }
    demand(client_.initialize_partition(built.id), config, "initialize the partition");
    for (unsigned vp = 0; vp < config.vps; ++vp) {
        demand(client_.create_vp(built.id, vp), config, "create a virtual processor");
    }
    if (config.reserve == 0) return;
    // Of existing processors, so that the machine can say whether it has as much to promise.
    if (client_.set_property(built.id, h::HvPartitionProperty::cpu_reserve, share_of(config.reserve)) !=
        h::HvStatus::success) {
        throw sim::UserError(
            fmt::format("partition '{}': the host's {} processors cannot keep a reserve of {}.{:03} percent for each "
                        "of {} virtual processors besides what they have promised already",
                        config.name, host.cores, config.reserve / 1000, config.reserve % 1000, config.vps));
    }
}

void PartitionBuilder::map_memory(Built& built, const PartitionConfig& config, const HostConfig& host,
                                  const MemoryLayout& layout) {
    namespace flag = h::map_gpa_flag;
    constexpr std::uint32_t all = flag::readable | flag::writable | flag::kernel_executable | flag::user_executable;
    std::vector<AddressRange> ranges{layout.low_ram, layout.high_ram};
    if (config.screen) ranges.push_back(Screen::memory);
    std::vector<AddressRange> from;
    const NumaNodes numa = host.numa();
    for (unsigned node = 0; numa.several() && node < numa.count; ++node) {
        if (config.spans_nodes || config.node == node) from.push_back(memory_of_node(numa, node));
    }
    built.memory = pages_.allocate(ranges, from);
    if (built.memory.empty() && config.node) {
        throw sim::UserError(
            fmt::format("partition '{}': node {} has no {} of memory free; node=\"all\" takes some of "
                        "each",
                        config.name, *config.node, mib(config.memory_bytes)));
    }
    // Not in equal parts, then.
    if (built.memory.empty() && config.spans_nodes) built.memory = pages_.allocate(ranges);
    if (built.memory.empty()) demand(h::HvStatus::insufficient_memory, config, "memory of the guest");
    for (const MemoryRun& run : built.memory) {
        demand(client_.map_range(built.id, run.gpa / page_bytes, run.spa / page_bytes, run.pages, all), config,
               "map the guest's memory");
    }
    std::ranges::sort(built.memory, {}, &MemoryRun::gpa);
}

void PartitionBuilder::load(const Built& built, const PartitionConfig& config, const MemoryLayout& layout) {
    acpi::Config tables;
    tables.machine = config.generation == 1 ? acpi::Machine::generation1 : acpi::Machine::generation2;
    for (unsigned vp = 0; vp < config.vps; ++vp) tables.processors.push_back({vp, 0});
    tables.layout = layout;

    loaders::BootInput input;
    input.kernel = config.guest.kernel;
    for (const auto& archive : config.guest.initramfs) input.initramfs.emplace_back(archive);
    input.command_line = config.guest.command_line;
    input.layout = layout;
    input.acpi = acpi::build(tables);
    if (config.screen) input.screen = Screen{};
    input.uefi = config.generation != 1;
    // A processor comes out of reset with its signature in EDX.
    const auto signature = client_.get_register(built.id, 0, h::HvRegister::x64_rdx);
    demand(signature.status, config, "read the processor's signature");
    input.cpu_signature = static_cast<std::uint32_t>(signature->low);

    const bool is_bzimage = loaders::detect(input.kernel) == loaders::Format::bzimage;
    if (is_bzimage != (config.guest.kind == GuestImage::Kind::bzimage)) {
        throw sim::UserError(is_bzimage ? "the guest is a bzImage, not an ELF file: name it as a Linux kernel"
                                        : "the guest is an ELF file, not a bzImage: name it as an ELF guest");
    }
    const loaders::BootImage image = loaders::load(input);
    for (const loaders::Segment& segment : image.segments) {
        VG_CHECK(write_guest(memory_, built.memory, segment.gpa, segment.bytes), "a segment outside of RAM");
    }
    std::vector<std::pair<h::HvRegister, h::HvRegisterValue>> registers;
    for (const h::HvRegister name : boot_registers()) {
        if (const auto value = h::get_architectural(image.registers, name)) registers.emplace_back(name, *value);
    }
    demand(client_.set_registers(built.id, 0, registers), config, "set the boot processor's registers");
}

h::HvStatus PartitionBuilder::start(const Built& built, unsigned vps) {
    for (unsigned vp = vps; vp-- > 0;) {
        const h::HvStatus status = client_.set_register(built.id, vp, h::HvRegister::explicit_suspend, {0, 0});
        if (status != h::HvStatus::success) return status;
    }
    return h::HvStatus::success;
}

void PartitionBuilder::take_down(const Built& built) {
    if (built.id != 0) {
        VG_CHECK(client_.finalize_partition(built.id) == h::HvStatus::success);
        VG_CHECK(client_.delete_partition(built.id) == h::HvStatus::success);
    }
    pages_.free(built.memory);
}

}  // namespace models
