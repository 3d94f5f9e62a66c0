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
    bool fast = false;
    std::size_t variable_bytes = 0;
    std::uint32_t rep_count = 0;
    std::uint32_t rep_start = 0;
    Shape shape;
    std::vector<std::byte> input;   // fixed part, variable header, all elements
    std::vector<std::byte> output;  // of a simple call, or all elements
    std::uint32_t done = 0;
    std::uint64_t control = 0;
};

bool SyntheticProcessor::hypercall() {
    cpu::GuestContext& guest = port_.context();
    const bool wide = guest.code_64bit();
    // 3.7: in 64-bit code RCX, RDX, R8; otherwise pairs of 32-bit registers.
    const auto pair = [&](Gpr high, Gpr low) {
        return (guest.gpr(high) & 0xffff'ffff) << 32 | (guest.gpr(low) & 0xffff'ffff);
    };
    Call call;
    call.control = wide ? guest.gpr(Gpr::rcx) : pair(Gpr::rdx, Gpr::rax);
    const std::uint64_t input_gpa = wide ? guest.gpr(Gpr::rdx) : pair(Gpr::rbx, Gpr::rcx);
    const std::uint64_t output_gpa = wide ? guest.gpr(Gpr::r8) : pair(Gpr::rdi, Gpr::rsi);
    call.code = static_cast<HvCall>(call.control & 0xffff);
    call.fast = sim::bit(call.control, hypercall_control::fast_bit);
    call.variable_bytes =
        8 * sim::bits(call.control, hypercall_control::variable_header_high, hypercall_control::variable_header_low);
    call.rep_count = static_cast<std::uint32_t>(
        sim::bits(call.control, hypercall_control::rep_count_high, hypercall_control::rep_count_low));
    call.rep_start = static_cast<std::uint32_t>(
        sim::bits(call.control, hypercall_control::rep_start_high, hypercall_control::rep_start_low));
    call.done = call.rep_start;

    const auto finish = [&](HvStatus status, std::uint32_t reps) {
        const std::uint64_t result = static_cast<std::uint64_t>(status) | std::uint64_t{reps}
                                                                              << hypercall_result_reps_shift;
        if (wide) {
            guest.set_gpr(Gpr::rax, result);
        } else {
            guest.set_gpr(Gpr::rdx, result >> 32);
            guest.set_gpr(Gpr::rax, result & 0xffff'ffff);
        }
        scope_.trace("child_hypercall", call.control, static_cast<std::uint64_t>(status), reps);
        return true;
    };

    const auto shape = shape_of(call.code);
    if (!shape || (call.control & (std::uint64_t{1} << hypercall_control::nested_bit)) != 0) {
        return finish(shape ? HvStatus::invalid_hypercall_input : HvStatus::invalid_hypercall_code, 0);
    }
    call.shape = *shape;
    if ((call.control & hypercall_control::reserved) != 0) return finish(HvStatus::invalid_hypercall_input, 0);
    if (call.variable_bytes != 0 && !shape->variable) return finish(HvStatus::invalid_hypercall_input, 0);
    if (!shape->rep && (call.rep_count != 0 || call.rep_start != 0))
        return finish(HvStatus::invalid_hypercall_input, 0);
    // Linux calls the list flushes with no elements at all; a start at or past the count is wrong otherwise.
    if (shape->rep && call.rep_count == 0 && call.rep_start == 0 && call.shape.here != nullptr) {
        // falls through: the header is still checked
    } else if (shape->rep && call.rep_start >= call.rep_count) {
        return finish(HvStatus::invalid_hypercall_input, 0);
    }
    if (shape->here != nullptr && !has(shape->here->privilege)) return finish(HvStatus::access_denied, 0);

    const std::size_t input_bytes =
        shape->input_bytes + call.variable_bytes + std::size_t{call.rep_count} * shape->element_bytes;
    const std::size_t output_bytes =
        shape->rep ? std::size_t{call.rep_count} * shape->output_bytes : shape->output_bytes;
    call.input.resize(input_bytes);
    call.output.resize(output_bytes);
    // Input. Fast: RDX, R8 and, in 64-bit code, XMM0 to XMM5; output follows in the registers that are left (3.7.1).
    GuestMemory& memory = partition_.partition().gpa_space();
    const std::size_t input_registers = (input_bytes + 15) / 16;
    if (call.fast) {
        std::array<std::uint64_t, 2 + 2 * hypercall_xmm_registers> words{input_gpa, output_gpa};
        for (unsigned n = 0; wide && n < hypercall_xmm_registers; ++n) {
            const auto xmm = guest.xmm(n);
            words[2 + 2 * n] = xmm[0];
            words[3 + 2 * n] = xmm[1];
        }
        const std::size_t room = wide ? sizeof words : 16;
        if (input_bytes > room || (output_bytes != 0 && 16 * input_registers + output_bytes > room)) {
            return finish(HvStatus::invalid_hypercall_input, 0);
        }
        std::memcpy(call.input.data(), words.data(), input_bytes);
    } else {
        const auto fits = [](std::uint64_t gpa, std::size_t bytes) {
            return (gpa & (hypercall_alignment - 1)) == 0 && (gpa & (hv_page_size - 1)) + bytes <= hv_page_size;
        };
        if (input_bytes != 0 && (!fits(input_gpa, input_bytes) || !memory.read(input_gpa, call.input))) {
            return finish(HvStatus::invalid_alignment, 0);
        }
        // The output page must take writes before anything happens.
        if (output_bytes != 0) {
            std::vector<std::byte> there(output_bytes);
            if (!fits(output_gpa, output_bytes) || !memory.read(output_gpa, there) ||
                !memory.write(output_gpa, there)) {
                return finish(HvStatus::invalid_alignment, 0);
            }
            call.output = there;  // elements that were done in an earlier entry
        }
    }

    const HvStatus status = dispatch(call);
    const std::uint32_t new_reps = call.done - call.rep_start;
    port_.charge_hypercall_reps(new_reps);
    if (output_bytes != 0 && (status == HvStatus::success || call.done > call.rep_start)) {
        if (call.fast) {
            for (std::size_t i = 0; i * 16 < output_bytes; ++i) {
                std::array<std::uint64_t, 2> words{};
                std::memcpy(words.data(), call.output.data() + i * 16,
                            std::min<std::size_t>(16, output_bytes - i * 16));
                const std::size_t target = input_registers + i;
                if (target == 0) {
                    guest.set_gpr(Gpr::rdx, words[0]);
                    guest.set_gpr(Gpr::r8, words[1]);
                } else {
                    guest.set_xmm(static_cast<unsigned>(target - 1), words);
                }
            }
        } else if (!memory.write(output_gpa, call.output)) {
            return finish(HvStatus::invalid_alignment, 0);
        }
    }
    // 3.8: a list that takes too long is left at an element; the instruction comes again and goes on there.
    if (status == HvStatus::success && shape->rep && call.done < call.rep_count) {
        const std::uint64_t next = sim::with_bits(call.control, hypercall_control::rep_start_high,
                                                  hypercall_control::rep_start_low, call.done);
        if (wide) {
            guest.set_gpr(Gpr::rcx, next);
        } else {
            guest.set_gpr(Gpr::rdx, next >> 32);
            guest.set_gpr(Gpr::rax, next & 0xffff'ffff);
        }
        return false;
    }
    return finish(status, shape->rep ? call.done : 0);
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

VpMask SyntheticProcessor::all_vps() const {
    VpMask mask = 0;
    partition_.partition().for_each_vp([&mask](std::uint32_t index, const VpControl&) { mask |= VpMask{1} << index; });
    return mask;
}

// HV_VP_SET: one bank follows for each bit of the mask. Processors that don't exist are ignored. `banks` is how many
// there are of the variable header's.
std::optional<VpMask> SyntheticProcessor::vp_set(const Call& call, std::size_t header_offset, std::size_t banks_offset,
                                                 std::size_t& banks) const {
    const auto header = read_as<HvVpSetHeader>(call.input, header_offset);
    banks = 0;
    if (header.format == vp_set_all) return all_vps();
    if (header.format != vp_set_sparse_4k) return std::nullopt;
    const auto wanted = static_cast<std::size_t>(std::popcount(header.valid_bank_mask));
    if (wanted > call.variable_bytes / 8) return std::nullopt;
    VpMask mask = 0;
    if ((header.valid_bank_mask & 1) != 0) mask = read_as<std::uint64_t>(call.input, banks_offset);
    banks = wanted;
    return mask & all_vps();
}

HvStatus SyntheticProcessor::flush_space(Call& call, bool ex, bool list) {
    VpMask targets = 0;
    std::uint64_t flags = 0;
    if (ex) {
        const auto input = read_as<HvInputFlushVirtualAddressSpaceEx>(call.input, 0);
        flags = input.flags;
        std::size_t banks = 0;
        const auto set = vp_set(call, offsetof(HvInputFlushVirtualAddressSpaceEx, vp_set), sizeof input, banks);
        if (!set) return HvStatus::invalid_parameter;
        targets = (flags & flush_flag::all_processors) != 0 ? all_vps() : *set;
    } else {
        const auto input = read_as<HvInputFlushVirtualAddressSpace>(call.input, 0);
        flags = input.flags;
        targets = (flags & flush_flag::all_processors) != 0 ? all_vps() : input.processor_mask & all_vps();
    }
    if ((flags & ~flush_flag::defined) != 0) return HvStatus::invalid_parameter;
    if (list) call.done = std::min(call.rep_count, call.rep_start + most_reps_at_once);
    // The engine's translations are dropped as a whole: more than was asked for, never less.
    port_.flush_translations(targets);
    return HvStatus::success;
}

HvStatus SyntheticProcessor::send_ipi(Call& call, bool ex) {
    VpMask targets = 0;
    std::uint32_t vector = 0;
    std::uint8_t vtl = 0;
    if (ex) {
        const auto input = read_as<HvInputSendSyntheticClusterIpiEx>(call.input, 0);
        vector = input.vector;
        vtl = input.target_vtl;
        std::size_t banks = 0;
        const auto set = vp_set(call, offsetof(HvInputSendSyntheticClusterIpiEx, vp_set), sizeof input, banks);
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

// There is no device behind any identifier yet.
HvStatus SyntheticProcessor::retarget_interrupt(Call& call) {
    const auto input = read_as<HvInputRetargetDeviceInterrupt>(call.input, 0);
    if (input.partition_id != hv_partition_id_self) return HvStatus::access_denied;
    if (input.reserved != 0 ||
        (input.entry.source != interrupt_source_msi && input.entry.source != interrupt_source_ioapic)) {
        return HvStatus::invalid_parameter;
    }
    return HvStatus::invalid_device_id;
}

}  // namespace hypervisor
