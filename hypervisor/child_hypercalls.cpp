// The hypercalls of a child: how they are called (TLFS chapter 3) and those that act on processors. Calls about
// partitions, registers, ports and messages go to RootHypercalls, where the caller's privileges decide.
#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstring>

#include "hypervisor/root_hypercalls.h"
#include "hypervisor/synthetic_processor.h"
#include "sim/bits.h"
#include "sim/check.h"

namespace hypervisor {

using cpu::Gpr;

namespace {

constexpr std::uint32_t most_reps_at_once = 64;  // then the guest's interrupts get their turn

enum class Kind : std::uint8_t { simple, rep };

// Calls that are answered here. `variable`: a header of eight-byte units may follow the fixed part.
struct Row {
    HvCall code;
    Kind kind;
    std::uint16_t input_bytes;
    std::uint16_t element_bytes;
    std::uint16_t output_bytes;
    bool variable;
    std::uint64_t privilege;
};

constexpr Row rows[] = {
    {HvCall::flush_virtual_address_space, Kind::simple, sizeof(HvInputFlushVirtualAddressSpace), 0, 0, false, 0},
    {HvCall::flush_virtual_address_list, Kind::rep, sizeof(HvInputFlushVirtualAddressSpace), 8, 0, false, 0},
    {HvCall::flush_virtual_address_space_ex, Kind::simple, sizeof(HvInputFlushVirtualAddressSpaceEx), 0, 0, true, 0},
    {HvCall::flush_virtual_address_list_ex, Kind::rep, sizeof(HvInputFlushVirtualAddressSpaceEx), 8, 0, true, 0},
    {HvCall::notify_long_spin_wait, Kind::simple, sizeof(HvInputNotifyLongSpinWait), 0, 0, false, 0},
    {HvCall::send_synthetic_cluster_ipi, Kind::simple, sizeof(HvInputSendSyntheticClusterIpi), 0, 0, false, 0},
    {HvCall::send_synthetic_cluster_ipi_ex, Kind::simple, sizeof(HvInputSendSyntheticClusterIpiEx), 0, 0, true, 0},
    {HvCall::retarget_device_interrupt, Kind::simple, sizeof(HvInputRetargetDeviceInterrupt), 0, 0, true, 0},
    {HvCall::ext_query_capabilities, Kind::simple, 0, 0, sizeof(HvOutputQueryExtendedCapabilities), false,
     privilege::enable_extended_hypercalls},
};

// A call's shape, wherever it is answered.
struct Shape {
    bool rep = false;
    std::size_t input_bytes = 0;
    std::size_t element_bytes = 0;
    std::size_t output_bytes = 0;
    bool variable = false;
    const Row* here = nullptr;
};

std::optional<Shape> shape_of(HvCall code) {
    for (const Row& row : rows) {
        if (row.code == code) {
            return Shape{row.kind == Kind::rep, row.input_bytes, row.element_bytes,
                         row.output_bytes,      row.variable,    &row};
        }
    }
    if (const auto* row = RootHypercalls::find(static_cast<std::uint16_t>(code))) {
        return Shape{row->kind == RootHypercalls::Kind::rep,
                     row->input_bytes,
                     row->element_bytes,
                     row->output_bytes,
                     false,
                     nullptr};
    }
    return std::nullopt;
}

template <class T>
T read_as(std::span<const std::byte> bytes, std::size_t offset) {
    T value{};
    VG_CHECK(offset + sizeof(T) <= bytes.size());
    std::memcpy(&value, bytes.data() + offset, sizeof(T));
    return value;
}

}  // namespace

// One entry into a hypercall, with its input copied out of the guest's reach.
struct SyntheticProcessor::Call {
    HvCall code{};
    std::uint64_t control = 0;
    bool wide = false;  // 64-bit code
    bool fast = false;
    std::size_t variable_bytes = 0;
    std::uint32_t rep_count = 0;
    std::uint32_t rep_start = 0;
    std::uint32_t done = 0;
    Shape shape;
    std::vector<std::byte> input;   // fixed part, variable header, all elements
    std::vector<std::byte> output;  // of a simple call, or all elements
};

namespace {

// 3.7: which registers carry what. In 64-bit code one each, otherwise pairs of 32-bit halves.
struct RegisterPair {
    Gpr wide;
    Gpr high;
    Gpr low;

    std::uint64_t get(const cpu::GuestContext& guest, bool is_wide) const {
        if (is_wide) return guest.gpr(wide);
        return (guest.gpr(high) & 0xffff'ffff) << 32 | (guest.gpr(low) & 0xffff'ffff);
    }
    void set(cpu::GuestContext& guest, bool is_wide, std::uint64_t value) const {
        if (is_wide) return guest.set_gpr(wide, value);
        guest.set_gpr(high, value >> 32);
        guest.set_gpr(low, value & 0xffff'ffff);
    }
};
constexpr RegisterPair control_registers{Gpr::rcx, Gpr::rdx, Gpr::rax};
constexpr RegisterPair input_registers{Gpr::rdx, Gpr::rbx, Gpr::rcx};
constexpr RegisterPair output_registers{Gpr::r8, Gpr::rdi, Gpr::rsi};
constexpr RegisterPair result_registers{Gpr::rax, Gpr::rdx, Gpr::rax};

// The parameter block of a fast call: the input pair, the output pair, XMM0 to XMM5 (3.7.1). Output begins in the first
// sixteen bytes that hold no input.
using FastBlock = std::array<std::uint64_t, hypercall_fast_bytes / 8>;
constexpr std::size_t fast_slot_bytes = 16;

// As far as `bytes` go.
FastBlock read_fast_block(const cpu::GuestContext& guest, bool wide, std::size_t bytes) {
    FastBlock block{input_registers.get(guest, wide), output_registers.get(guest, wide)};
    for (unsigned n = 0; n < hypercall_xmm_registers && (n + 1) * fast_slot_bytes < bytes; ++n) {
        const auto xmm = guest.xmm(n);
        block[2 + 2 * n] = xmm[0];
        block[3 + 2 * n] = xmm[1];
    }
    return block;
}

void write_fast_slot(cpu::GuestContext& guest, bool wide, std::size_t slot, std::array<std::uint64_t, 2> words) {
    if (slot != 0) return guest.set_xmm(static_cast<unsigned>(slot - 1), words);
    input_registers.set(guest, wide, words[0]);
    output_registers.set(guest, wide, words[1]);
}

constexpr std::size_t output_slot(std::size_t input_bytes) {
    return (input_bytes + fast_slot_bytes - 1) / fast_slot_bytes;
}

bool fits_page(std::uint64_t gpa, std::size_t bytes) {
    return (gpa & (hypercall_alignment - 1)) == 0 && (gpa & (hv_page_size - 1)) + bytes <= hv_page_size;
}

}  // namespace

bool SyntheticProcessor::hypercall() {
    cpu::GuestContext& guest = port_.context();
    Call call;
    call.wide = guest.code_64bit();
    call.control = control_registers.get(guest, call.wide);
    HvStatus status = parse(call);
    if (status == HvStatus::success) status = fetch_parameters(call);
    if (status == HvStatus::success) {
        status = dispatch(call);
        // Refused before its first element, a call says that none of its own is done.
        call.done = std::max(call.done, call.rep_start);
        port_.charge_hypercall_reps(call.done - call.rep_start);
        if ((status == HvStatus::success || call.done > call.rep_start) && !store_output(call)) {
            status = HvStatus::invalid_alignment;
        }
        // 3.8: a list that takes too long is left at an element; the instruction comes again and goes on there.
        if (status == HvStatus::success && call.shape.rep && call.done < call.rep_count) {
            control_registers.set(guest, call.wide,
                                  sim::with_bits(call.control, hypercall_control::rep_start_high,
                                                 hypercall_control::rep_start_low, call.done));
            return false;
        }
    }
    const std::uint32_t reps = call.shape.rep ? call.done : 0;
    result_registers.set(guest, call.wide,
                         static_cast<std::uint64_t>(status) | std::uint64_t{reps} << hypercall_result_reps_shift);
    scope_.trace("child_hypercall", call.control, static_cast<std::uint64_t>(status), reps);
    return true;
}

// The control word (3.5), in the order in which a guest is told of its mistakes.
HvStatus SyntheticProcessor::parse(Call& call) const {
    namespace c = hypercall_control;
    call.code = static_cast<HvCall>(sim::bits(call.control, c::code_high, c::code_low));
    call.fast = sim::bit(call.control, c::fast_bit);
    call.variable_bytes = 8 * sim::bits(call.control, c::variable_header_high, c::variable_header_low);
    call.rep_count = static_cast<std::uint32_t>(sim::bits(call.control, c::rep_count_high, c::rep_count_low));
    call.rep_start = static_cast<std::uint32_t>(sim::bits(call.control, c::rep_start_high, c::rep_start_low));
    const auto shape = shape_of(call.code);
    if (!shape) return HvStatus::invalid_hypercall_code;
    if ((call.control & c::reserved) != 0 || sim::bit(call.control, c::nested_bit) ||
        (call.variable_bytes != 0 && !shape->variable)) {
        return HvStatus::invalid_hypercall_input;
    }
    if (!shape->rep) {
        if (call.rep_count != 0 || call.rep_start != 0) return HvStatus::invalid_hypercall_input;
    } else {
        // Linux makes list flushes with no elements at all; else a start at or past the count is wrong.
        const bool empty = call.rep_count == 0 && call.rep_start == 0 && shape->here != nullptr;
        if (call.rep_start >= call.rep_count && !empty) return HvStatus::invalid_hypercall_input;
    }
    call.shape = *shape;
    call.done = call.rep_start;
    if (shape->here != nullptr && !has(shape->here->privilege)) return HvStatus::access_denied;
    return HvStatus::success;
}

HvStatus SyntheticProcessor::fetch_parameters(Call& call) {
    const cpu::GuestContext& guest = port_.context();
    const Shape& shape = call.shape;
    call.input.resize(shape.input_bytes + call.variable_bytes + std::size_t{call.rep_count} * shape.element_bytes);
    call.output.resize(shape.rep ? std::size_t{call.rep_count} * shape.output_bytes : shape.output_bytes);
    if (call.fast) {
        const std::size_t output_at = output_slot(call.input.size()) * fast_slot_bytes;
        const FastBlock block = read_fast_block(guest, call.wide, output_at + call.output.size());
        if (call.input.size() > sizeof block) return HvStatus::invalid_hypercall_input;
        std::copy_n(std::as_bytes(std::span{block}).begin(), call.input.size(), call.input.begin());
        if (call.output.empty()) return HvStatus::success;
        if (output_at + call.output.size() > sizeof block || !has(privilege::fast_hypercall_output)) {
            return HvStatus::invalid_hypercall_input;
        }
        std::memcpy(call.output.data(), std::as_bytes(std::span{block}).data() + output_at, call.output.size());
        return HvStatus::success;
    }
    GuestMemory& memory = partition_.partition().gpa_space();
    const std::uint64_t input_gpa = input_registers.get(guest, call.wide);
    if (!call.input.empty() && (!fits_page(input_gpa, call.input.size()) || !memory.read(input_gpa, call.input))) {
        return HvStatus::invalid_alignment;
    }
    if (call.output.empty()) return HvStatus::success;
    // The output page must take writes before anything happens. What it holds are elements that an earlier entry did.
    const std::uint64_t output_gpa = output_registers.get(guest, call.wide);
    if (!fits_page(output_gpa, call.output.size()) || !memory.read(output_gpa, call.output) ||
        !memory.write(output_gpa, call.output)) {
        return HvStatus::invalid_alignment;
    }
    return HvStatus::success;
}

bool SyntheticProcessor::store_output(const Call& call) {
    if (call.output.empty()) return true;
    cpu::GuestContext& guest = port_.context();
    if (!call.fast) {
        return partition_.partition().gpa_space().write(output_registers.get(guest, call.wide), call.output);
    }
    const std::size_t first = output_slot(call.input.size());
    for (std::size_t at = 0; at < call.output.size(); at += fast_slot_bytes) {
        std::array<std::uint64_t, 2> words{};
        std::memcpy(words.data(), call.output.data() + at, std::min(fast_slot_bytes, call.output.size() - at));
        write_fast_slot(guest, call.wide, first + at / fast_slot_bytes, words);
    }
    return true;
}

HvStatus SyntheticProcessor::dispatch(Call& call) {
    switch (call.code) {
        case HvCall::flush_virtual_address_space:
            return flush_space(call, false, false);
        case HvCall::flush_virtual_address_list:
            return flush_space(call, false, true);
        case HvCall::flush_virtual_address_space_ex:
            return flush_space(call, true, false);
        case HvCall::flush_virtual_address_list_ex:
            return flush_space(call, true, true);
        case HvCall::send_synthetic_cluster_ipi:
            return send_ipi(call, false);
        case HvCall::send_synthetic_cluster_ipi_ex:
            return send_ipi(call, true);
        case HvCall::notify_long_spin_wait:
            port_.yield();
            return HvStatus::success;
        case HvCall::retarget_device_interrupt:
            return retarget_interrupt(call);
        // No extended capability exists: all zeros.
        case HvCall::ext_query_capabilities:
            std::fill(call.output.begin(), call.output.end(), std::byte{0});
            return HvStatus::success;
        default:
            break;
    }
    if (call.code == HvCall::get_vp_registers || call.code == HvCall::set_vp_registers) name_own_vp(call);
    // The same bytes, at most so many elements of them, to the calls that all partitions share.
    const std::uint32_t count = call.shape.rep ? std::min(call.rep_count, call.rep_start + most_reps_at_once) : 0;
    std::uint64_t control = call.control & ~(std::uint64_t{1} << hypercall_control::fast_bit);
    if (call.shape.rep) {
        control = sim::with_bits(control, hypercall_control::rep_count_high, hypercall_control::rep_count_low, count);
    }
    const std::size_t input_bytes = call.shape.input_bytes + std::size_t{count} * call.shape.element_bytes;
    const std::size_t output_bytes =
        call.shape.rep ? std::size_t{count} * call.shape.output_bytes : call.shape.output_bytes;
    const std::uint64_t result =
        calls_.call(partition_.partition().id(), control, std::span{call.input}.first(input_bytes),
                    std::span{call.output}.first(output_bytes));
    if (call.shape.rep) call.done = static_cast<std::uint32_t>(result >> hypercall_result_reps_shift & 0xfff);
    return static_cast<HvStatus>(result & 0xffff);
}

// "Self" among the virtual processors is known only here.
void SyntheticProcessor::name_own_vp(Call& call) const {
    auto header = read_as<HvInputVpRegisters>(call.input, 0);
    if (header.vp_index == hv_vp_index_self) header.vp_index = index_;
    std::memcpy(call.input.data(), &header, sizeof header);
}

VpMask SyntheticProcessor::all_vps() const {
    VpMask mask = 0;
    partition_.partition().for_each_vp([&mask](std::uint32_t index, const VpControl&) { mask |= VpMask{1} << index; });
    return mask;
}

// HV_VP_SET: one bank follows for each bit of the mask, in the variable header. Processors that don't exist are
// ignored, and so are banks beyond the first, which no partition is large enough for.
std::optional<VpMask> SyntheticProcessor::vp_set(const Call& call, std::size_t header_offset,
                                                 std::size_t words_before) const {
    const auto header = read_as<HvVpSetHeader>(call.input, header_offset);
    if (header.format == vp_set_all) return all_vps();
    if (header.format != vp_set_sparse_4k) return std::nullopt;
    const auto banks = static_cast<std::size_t>(std::popcount(header.valid_bank_mask));
    if (words_before + banks > call.variable_bytes / 8) return std::nullopt;
    if ((header.valid_bank_mask & 1) == 0) return VpMask{0};
    return read_as<std::uint64_t>(call.input, header_offset + sizeof header) & all_vps();
}

HvStatus SyntheticProcessor::flush_space(Call& call, bool ex, bool list) {
    VpMask targets = 0;
    std::uint64_t flags = 0;
    if (ex) {
        const auto input = read_as<HvInputFlushVirtualAddressSpaceEx>(call.input, 0);
        flags = input.flags;
        const auto set = vp_set(call, offsetof(HvInputFlushVirtualAddressSpaceEx, vp_set));
        if (!set) return HvStatus::invalid_parameter;
        targets = (flags & flush_flag::all_processors) != 0 ? all_vps() : *set;
    } else {
        const auto input = read_as<HvInputFlushVirtualAddressSpace>(call.input, 0);
        flags = input.flags;
        targets = (flags & flush_flag::all_processors) != 0 ? all_vps() : input.processor_mask & all_vps();
    }
    std::uint64_t known = flush_flag::defined;
    if (!has(privilege::enable_extended_gva_ranges_flush)) known &= ~flush_flag::use_extended_range_format;
    if ((flags & ~known) != 0) return HvStatus::invalid_parameter;
    TranslationFlush what;
    what.all_spaces = (flags & flush_flag::all_virtual_address_spaces) != 0;
    what.non_global_only = (flags & flush_flag::non_global_mappings_only) != 0;
    if (list) {
        call.done = std::min(call.rep_count, call.rep_start + most_reps_at_once);
        what.everything = call.rep_count == 0 || (flags & flush_flag::use_extended_range_format) != 0;
        if (!what.everything) list_pages(call, what);
    }
    port_.flush_translations(targets, what);
    return HvStatus::success;
}

// HV_GVA_RANGE: a page's address, and in its low twelve bits how many follow. Many pages are flushed as everything.
void SyntheticProcessor::list_pages(const Call& call, TranslationFlush& what) {
    constexpr std::uint64_t most_pages = 64;
    for (std::uint32_t n = call.rep_start; n < call.done; ++n) {
        const std::size_t at = call.shape.input_bytes + call.variable_bytes + std::size_t{n} * sizeof(std::uint64_t);
        const auto range = read_as<std::uint64_t>(call.input, at);
        const std::uint64_t pages = (range & (hv_page_size - 1)) + 1;
        if (what.pages.size() + pages > most_pages) {
            what.everything = true;
            what.pages.clear();
            return;
        }
        for (std::uint64_t i = 0; i < pages; ++i) {
            what.pages.push_back((range & ~(hv_page_size - 1)) + (i << hv_page_shift));
        }
    }
}

HvStatus SyntheticProcessor::send_ipi(Call& call, bool ex) {
    VpMask targets = 0;
    std::uint32_t vector = 0;
    std::uint8_t vtl = 0;
    if (ex) {
        const auto input = read_as<HvInputSendSyntheticClusterIpiEx>(call.input, 0);
        vector = input.vector;
        vtl = input.target_vtl;
        const auto set = vp_set(call, offsetof(HvInputSendSyntheticClusterIpiEx, vp_set));
        if (!set) return HvStatus::invalid_parameter;
        targets = *set;
    } else {
        const auto input = read_as<HvInputSendSyntheticClusterIpi>(call.input, 0);
        vector = input.vector;
        vtl = input.target_vtl;
        targets = input.processor_mask & all_vps();
    }
    if (vector < ipi_low_vector || vector > ipi_high_vector || vtl != 0) return HvStatus::invalid_parameter;
    port_.send_ipis(targets, static_cast<std::uint8_t>(vector));
    return HvStatus::success;
}

// Of a set the fixed part holds the format alone: the mask of banks is the first word of the variable header.
HvStatus SyntheticProcessor::retarget_interrupt(Call& call) {
    const auto input = read_as<HvInputRetargetDeviceInterrupt>(call.input, 0);
    if (input.partition_id != hv_partition_id_self) return HvStatus::access_denied;
    constexpr std::uint32_t known = interrupt_target_flag::multicast | interrupt_target_flag::processor_set;
    if (input.reserved != 0 || (input.flags & ~known) != 0 ||
        (input.entry.source != interrupt_source_msi && input.entry.source != interrupt_source_ioapic)) {
        return HvStatus::invalid_parameter;
    }
    if (input.entry.source != interrupt_source_msi) return HvStatus::invalid_device_id;
    InterruptTarget target{.vector = input.vector,
                           .processors = input.mask_or_format & all_vps(),
                           .multicast = (input.flags & interrupt_target_flag::multicast) != 0};
    if ((input.flags & interrupt_target_flag::processor_set) != 0) {
        if (call.variable_bytes == 0) return HvStatus::invalid_parameter;
        const auto set = vp_set(call, offsetof(HvInputRetargetDeviceInterrupt, mask_or_format), 1);
        if (!set) return HvStatus::invalid_parameter;
        target.processors = *set;
    }
    return partition_.partition().devices().retarget(input.device_id, {input.entry.msi_address, input.entry.msi_data},
                                                     target);
}

}  // namespace hypervisor
