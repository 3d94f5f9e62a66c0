#include "pci/iommu.h"

#include <algorithm>
#include <array>

#include "pci/root_complex.h"
#include "sim/check.h"
#include "sim/prefetch.h"

namespace pci {

namespace {

namespace remap = dma_remapping;

// Tables on the way, as the walk meets them; they are cached when it succeeds.
struct TableRecorder {
    struct Seen {
        int level;
        std::uint64_t spa;
        std::uint64_t entry;
    };
    std::array<Seen, 4> seen{};
    unsigned count = 0;
    void entry(int level, std::uint64_t spa, unsigned, std::uint64_t entry) {
        if (count < seen.size()) seen[count++] = {level, spa, entry};
    }
};

// Where an address of the page lies.
std::uint64_t inside(const IotlbEntry& page, std::uint64_t address) {
    const std::uint64_t within = (std::uint64_t{1} << page.page_shift) - 1;
    return (page.frame & ~within) | (address & within);
}

slat::PageRights narrowed(slat::Format format, const slat::PageRights& rights, std::uint64_t entry) {
    const bool ept = format == slat::Format::ept;
    return {rights.readable && (entry & (ept ? slat::ept::read : mmu::pte::user)) != 0,
            rights.writable && (entry & (ept ? slat::ept::write : mmu::pte::writable)) != 0, rights.executable};
}

}  // namespace

Iommu::Iommu(const sim::Scope& scope, mmu::SystemMemory memory, HostPort& host, HostTiming& timing,
             const IommuConfig& config)
    : scope_(scope),
      memory_(memory),
      host_(host),
      timing_(timing),
      config_(config),
      blocked_(scope.counter("blocked", "count", "accesses and interrupts of devices that were not their own")),
      hits_(scope.counter("iotlb_hits", "count", "requests whose translation was cached")),
      walks_(scope.counter("walks", "count", "walks of second-level tables")),
      references_(scope.counter("references", "count", "table entries read from memory")),
      remapped_(scope.counter("remapped", "count", "interrupts remapped")),
      posted_(scope.counter("posted", "count", "interrupts posted to a descriptor")),
      caches_(config),
      faults_(config.fault_registers) {
    VG_CHECK(config.walkers != 0 && config.fault_registers != 0);
}

void Iommu::set_root_table(std::uint64_t spa) {
    state_.root_table = spa & remap::address_mask;
    invalidate_contexts();
    invalidate_translations();
}

void Iommu::enable_translation(bool on) {
    state_.translating = on;
    invalidate_contexts();
    invalidate_translations();
}

// The context of a requester, from the cache or from the tables in memory (3.4).
IommuContext Iommu::context_of(RequesterId requester, Look look, unsigned& references, FaultReason& fault) {
    if (const IommuContext* cached = caches_.find_context(requester.value)) return *cached;
    std::uint64_t root = 0;
    std::uint64_t root_high = 0;
    references += 2;
    const std::uint64_t root_at = state_.root_table + remap::entry_bytes * requester.bus();
    if (!memory_.try_load(root_at, root) || !memory_.try_load(root_at + 8, root_high)) {
        fault = FaultReason::root_table_access;
        return {};
    }
    if ((root & remap::present) == 0) {
        fault = FaultReason::root_not_present;
        return {};
    }
    if ((root & remap::root_reserved) != 0 || root_high != 0) {
        fault = FaultReason::root_reserved;
        return {};
    }
    std::uint64_t low = 0;
    std::uint64_t high = 0;
    const std::uint64_t at = (root & remap::address_mask) + remap::entry_bytes * requester.devfn();
    if (!memory_.try_load(at, low) || !memory_.try_load(at + 8, high)) {
        fault = FaultReason::context_table_access;
        return {};
    }
    if (Walked* const walked = walked_of(requester)) walked->note(memory_.at(at, 8));
    IommuContext context;
    context.root = low & remap::address_mask;
    context.domain = static_cast<std::uint16_t>(high >> remap::domain_shift);
    context.type = static_cast<std::uint8_t>(low >> remap::translation_type_shift & 3);
    context.fault_disable = (low & remap::fault_disable) != 0;
    const bool passes = context.type == static_cast<std::uint8_t>(TranslationType::pass_through);
    if ((low & remap::present) == 0) {
        fault = FaultReason::context_not_present;
    } else if ((low & remap::context_reserved_low) != 0 || (high & remap::context_reserved_high) != 0) {
        fault = FaultReason::context_reserved;
    } else if (context.type == 3 || (!passes && (high & remap::width_mask) != remap::width_4_levels)) {
        fault = FaultReason::context_invalid;
    } else if (look == Look::timed) {
        caches_.insert_context(requester.value, context);
    }
    return context;
}

// Mostly it is known.
inline Iommu::Place Iommu::translate(RequesterId requester, std::uint64_t address, bool write, Look look,
                                     sim::Time now) {
    Place place;
    place.ready = now;
    place.spa = address;
    if (!state_.translating) return place;
    const IotlbEntry* const known = caches_.find_known(requester.value, address, look == Look::timed);
    if (known == nullptr || !known->rights.allow(!write, write, false)) {
        return look_up(requester, address, write, look, now);
    }
    if (look == Look::timed) ++hits_;
    place.ready = std::max(now, known->ready);
    place.spa = inside(*known, address);
    return place;
}

Iommu::Place Iommu::look_up(RequesterId requester, std::uint64_t address, bool write, Look look, sim::Time now) {
    Place place;
    place.ready = now;
    if (look == Look::only) {
        if (const auto recent = caches_.find_recent(requester.value, address, write)) {
            place.spa = *recent;
            return place;
        }
    }
    const IommuContext context = context_of(requester, look, place.references, place.fault);
    place.silent = context.fault_disable;
    if (place.fault != FaultReason::none) return place;
    if (context.type == static_cast<std::uint8_t>(TranslationType::pass_through)) {
        place.spa = address;
        return place;
    }
    if (address >> 48 != 0) {
        place.fault = FaultReason::beyond_address_width;
        return place;
    }
    // A cached translation that does not allow the access is no verdict: the tables may allow more by now.
    const IotlbEntry* cached = caches_.find(context.domain, address, look == Look::timed);
    if (cached != nullptr && cached->rights.allow(!write, write, false)) {
        if (look == Look::timed) ++hits_;
        place.ready = std::max(now, cached->ready);
        place.spa = inside(*cached, address);
        if (look == Look::timed) caches_.know(requester.value, context.domain, address, cached->page_shift);
        caches_.keep_recent(requester.value, address, inside(*cached, 0), cached->page_shift, cached->rights);
        return place;
    }

    slat::SecondLevel second = config_.second;
    second.root = context.root;
    slat::Start start = slat::root_of(second);
    if (look == Look::timed) start = caches_.start(second, context.domain, address);
    TableRecorder recorder;
    slat::Request request;
    request.access = write ? mmu::Access::write : mmu::Access::read;
    request.linear_valid = false;
    const slat::Translation found = slat::translate_from<slat::TranslateOptions{.leave_flags = true}>(
        second, memory_, start, address, request, recorder);
    place.references += found.references;
    Walked* const walked = walked_of(requester);
    for (unsigned i = 0; walked != nullptr && i < recorder.count; ++i) {
        walked->note(memory_.at(recorder.seen[i].spa, 8));
    }
    if (look == Look::timed) {
        ++walks_;
        references_.add(place.references);
        place.ready = caches_.walk(now, config_.walk_overhead + config_.reference * place.references);
    }
    if (!found.ok()) {
        const FaultReason denied = write ? FaultReason::write_denied : FaultReason::read_denied;
        place.fault = found.outcome == slat::Outcome::misconfiguration ? FaultReason::table_reserved : denied;
        return place;
    }
    place.spa = found.spa;
    if (look != Look::timed) return place;
    slat::PageRights rights = start.rights;
    for (unsigned i = 0; i < recorder.count; ++i) {
        const auto& [level, spa, entry] = recorder.seen[i];
        rights = narrowed(config_.second.format, rights, entry);
        if (level == found.level) break;
        caches_.insert_table(level, context.domain, address, entry & mmu::pte::address, rights);
    }
    caches_.insert(context.domain, address, {found.spa, place.ready, rights, found.page_shift});
    const void* const kept = caches_.keep_recent(
        requester.value, address, inside({found.spa, {}, rights, found.page_shift}, 0), found.page_shift, rights);
    if (walked != nullptr) walked->note(kept);
    return place;
}

void Iommu::add_needs(RequesterId requester, sim::WorkingSet& set) {
    std::unique_ptr<Walked>& walked = walked_[requester];
    if (walked == nullptr) walked = std::make_unique<Walked>();
    set.add(*walked);
    for (const void* const& line : walked->lines) set.add_content(line, sizeof(std::uint64_t));
}

void Iommu::Walked::note(const void* entry) {
    constexpr std::uintptr_t line_bytes = sim::WorkingSet::line_bytes;
    const auto line = reinterpret_cast<const void*>(reinterpret_cast<std::uintptr_t>(entry) & ~(line_bytes - 1));
    if (std::ranges::find(lines, line) != lines.end()) return;
    lines[next++ % lines.size()] = line;
}

void Iommu::blocked(RequesterId requester, std::uint64_t address, bool write, FaultReason reason) {
    scope_.trace("fault", requester.value, address, write ? 1 : 0, static_cast<std::uint64_t>(reason));
    if (!faults_.record({reason, requester, address, write})) return;
    if (state_.fault_event.address != 0) host_.interrupt(state_.fault_event);
}

// Page by page, as the requests on the link are cut: what lies before a fault has happened.
template <class Byte, class Access>
DmaStatus Iommu::access(RequesterId requester, std::uint64_t address, std::span<Byte> bytes, bool write,
                        Access&& piece) {
    while (!bytes.empty()) {
        const Place place = translate(requester, address, write, Look::only, scope_.now());
        if (place.fault != FaultReason::none) {
            ++blocked_;
            if (!place.silent) blocked(requester, address & ~std::uint64_t{4095}, write, place.fault);
            return DmaStatus::unsupported;
        }
        const std::size_t here = 4096 - (address & 4095);
        if (bytes.size() <= here) return piece(place.spa, bytes);
        const DmaStatus status = piece(place.spa, bytes.first(here));
        if (status != DmaStatus::ok) return status;
        address += here;
        bytes = bytes.subspan(here);
    }
    return DmaStatus::ok;
}

DmaStatus Iommu::read_memory(RequesterId requester, std::uint64_t address, std::span<std::byte> out) {
    return access(requester, address, out, false, [&](std::uint64_t spa, std::span<std::byte> part) {
        return host_.read_memory(requester, spa, part);
    });
}

// Mostly it is one page, whose translation is known.
DmaStatus Iommu::write_memory(RequesterId requester, std::uint64_t address, std::span<const std::byte> data) {
    const bool one_page = data.size() - 1 < 4096 - (address & 4095);
    if (one_page && state_.translating) {
        const IotlbEntry* const known = caches_.find_known(requester.value, address, false);
        if (known != nullptr && known->rights.writable) {
            return host_.write_memory(requester, inside(*known, address), data);
        }
    }
    return write_pages(requester, address, data);
}

DmaStatus Iommu::write_pages(RequesterId requester, std::uint64_t address, std::span<const std::byte> data) {
    return access(requester, address, data, true, [&](std::uint64_t spa, std::span<const std::byte> part) {
        return host_.write_memory(requester, spa, part);
    });
}

// The access comes some events from now: the simulating computer may fetch what it will touch.
void Iommu::expect(std::uint64_t spa, std::uint64_t bytes) const {
    constexpr std::uint64_t line = 64, most = 2048;
    const std::byte* const from = memory_.at(spa, bytes);
    if (from == nullptr) return;
    for (std::uint64_t at = 0; at < std::min(bytes, most); at += line) sim::prefetch(from + at);
}

sim::Time Iommu::served(const HostAccess& access, sim::Time arrival) {
    const bool message =
        access.write && access.address - RootComplex::message_window < RootComplex::message_window_bytes;
    if (!message) return memory_served(access, arrival);
    return timing_.served(access, arrival + (state_.remapping ? config_.interrupt : sim::Time::zero()));
}

// The link asks when a request leaves; the walk begins when it arrives. A fault costs its walk. Mostly it is one page.
sim::Time Iommu::memory_served(const HostAccess& access, sim::Time arrival) {
    if ((access.address & 4095) + access.size > 4096) return pages_served(access, arrival);
    const Place place = translate(access.requester, access.address, access.write, Look::timed, arrival);
    if (place.fault != FaultReason::none) return place.ready;
    expect(place.spa, access.size);
    return timing_.served({access.requester, place.spa, access.size, access.write}, place.ready);
}

sim::Time Iommu::pages_served(const HostAccess& access, sim::Time arrival) {
    sim::Time ready = arrival;
    std::uint64_t first_spa = 0;
    const std::uint64_t last = access.address + (access.size - 1);
    for (std::uint64_t at = access.address; at <= last; at = (at | 4095) + 1) {
        const Place place = translate(access.requester, at, access.write, Look::timed, ready);
        ready = place.ready;
        if (place.fault != FaultReason::none) return ready;
        if (at == access.address) first_spa = place.spa;
        expect(place.spa, std::min(last, at | 4095) + 1 - at);
        if (last <= (at | 4095)) break;
    }
    return timing_.served({access.requester, first_spa, access.size, access.write}, ready);
}

}  // namespace pci
