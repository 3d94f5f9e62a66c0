#include "models/intercepted_processor.h"

#include <algorithm>
#include <array>

#include "hypervisor/vp_registers.h"

namespace models {

using hypervisor::HvRegister;
using hypervisor::HvRegisterValue;

namespace {

constexpr std::uint64_t page_size = hypervisor::hv_page_size;

// #PF error code bits (SDM volume 3A, 4.7).
constexpr std::uint32_t fault_present = 1u << 0;
constexpr std::uint32_t fault_write = 1u << 1;
constexpr std::uint32_t fault_user = 1u << 2;
constexpr std::uint32_t fault_reserved = 1u << 3;
constexpr std::uint32_t fault_fetch = 1u << 4;

// The segment attributes of the TLFS (7.8): L and D/B.
constexpr std::uint16_t attribute_long = 1u << 13;
constexpr std::uint16_t attribute_big = 1u << 14;

constexpr std::array emulator_registers = {
    HvRegister::x64_rax,  HvRegister::x64_rcx,  HvRegister::x64_rdx,    HvRegister::x64_rbx,  HvRegister::x64_rsp,
    HvRegister::x64_rbp,  HvRegister::x64_rsi,  HvRegister::x64_rdi,    HvRegister{0x2'0008}, HvRegister{0x2'0009},
    HvRegister{0x2'000a}, HvRegister{0x2'000b}, HvRegister{0x2'000c},   HvRegister{0x2'000d}, HvRegister{0x2'000e},
    HvRegister::x64_r15,  HvRegister::x64_rip,  HvRegister::x64_rflags, HvRegister::x64_es,   HvRegister::x64_cs,
    HvRegister::x64_ss,   HvRegister::x64_ds,   HvRegister::x64_fs,     HvRegister::x64_gs,   HvRegister::x64_cr0,
    HvRegister::x64_cr2,  HvRegister::x64_cr3,  HvRegister::x64_cr4,    HvRegister::x64_efer,
};

HvRegister gpr_name(unsigned index) {
    return HvRegister{static_cast<std::uint32_t>(HvRegister::x64_rax) + index};
}

}  // namespace

cpu::Registers InterceptedProcessor::registers() const {
    cpu::Registers r;
    std::array<HvRegisterValue, emulator_registers.size()> values{};
    if (client_.get_registers(partition_, header_.vp_index, emulator_registers, values) !=
        hypervisor::HvStatus::success) {
        return r;
    }
    for (std::size_t i = 0; i < values.size(); ++i) {
        (void)hypervisor::set_architectural(r, emulator_registers[i], values[i]);
    }
    return r;
}

bool InterceptedProcessor::code_64bit() const {
    return long_mode() && (header_.cs_segment.attributes & attribute_long) != 0;
}

bool InterceptedProcessor::code_16bit() const {
    return !code_64bit() && (header_.cs_segment.attributes & attribute_big) == 0;
}

std::uint64_t InterceptedProcessor::next_rip() const {
    const std::uint64_t next = header_.rip + (header_.instruction_length_and_cr8 & 0xfu);
    if (code_64bit()) return next;
    return next & (code_16bit() ? 0xffff : 0xffff'ffff);
}

// What hardware does at the end of an instruction: the interrupt shadow ends, and a single step is reported.
void InterceptedProcessor::finish_instruction(std::vector<Assignment>& changes) {
    const bool shadow = (header_.execution_state >> 12 & 1) != 0;
    if (shadow) {
        const auto state = client_.get_register(partition_, header_.vp_index, HvRegister::interrupt_state);
        const std::uint64_t bits = state ? state->low : 0;
        changes.push_back({HvRegister::interrupt_state, {bits & ~hypervisor::interrupt_state::interrupt_shadow, 0}});
    }
    if ((header_.rflags & cpu::rflags::rf) != 0) {
        const auto rflags = std::find_if(changes.begin(), changes.end(),
                                         [](const Assignment& a) { return a.first == HvRegister::x64_rflags; });
        if (rflags != changes.end()) {
            rflags->second.low &= ~cpu::rflags::rf;
        } else {
            changes.push_back({HvRegister::x64_rflags, {header_.rflags & ~cpu::rflags::rf, 0}});
        }
    }
    if ((header_.rflags & cpu::rflags::tf) != 0) {
        const auto dr6 = client_.get_register(partition_, header_.vp_index, HvRegister::x64_dr6);
        changes.push_back({HvRegister::x64_dr6, {(dr6 ? dr6->low : cpu::dr6::fixed_one) | cpu::dr6::bs, 0}});
        namespace p = hypervisor::pending_interruption;
        changes.push_back(
            {HvRegister::pending_interruption,
             {p::pending | p::type_exception << p::type_shift | std::uint64_t{cpu::vector::debug} << p::vector_shift,
              0}});
    }
}

void InterceptedProcessor::set(std::vector<Assignment> changes) {
    changes.push_back({HvRegister::intercept_suspend, {0, 0}});
    (void)client_.set_registers(partition_, header_.vp_index, changes);
}

void InterceptedProcessor::complete(std::vector<Assignment> changes) {
    complete_at(next_rip(), std::move(changes));
}

void InterceptedProcessor::complete_at(std::uint64_t rip, std::vector<Assignment> changes) {
    changes.push_back({HvRegister::x64_rip, {rip, 0}});
    finish_instruction(changes);
    set(std::move(changes));
}

void InterceptedProcessor::write_back(const cpu::Registers& r, bool finished) {
    std::vector<Assignment> changes;
    for (unsigned i = 0; i < r.gpr.size(); ++i) changes.push_back({gpr_name(i), {r.gpr[i], 0}});
    changes.push_back({HvRegister::x64_rip, {r.rip, 0}});
    changes.push_back({HvRegister::x64_rflags, {r.rflags, 0}});
    if (finished) finish_instruction(changes);
    set(std::move(changes));
}

void InterceptedProcessor::inject(const cpu::Event& event) {
    namespace p = hypervisor::pending_interruption;
    std::uint64_t pending =
        p::pending | p::type_exception << p::type_shift | static_cast<std::uint64_t>(event.vector) << p::vector_shift;
    if (event.has_error_code) {
        pending |= p::deliver_error_code | static_cast<std::uint64_t>(event.error_code) << p::error_code_shift;
    }
    std::vector<Assignment> changes;
    if (event.has_payload && event.vector == cpu::vector::page_fault) {
        changes.push_back({HvRegister::x64_cr2, {event.payload, 0}});
    }
    changes.push_back({HvRegister::pending_interruption, {pending, 0}});
    set(std::move(changes));
}

// Memory
// -----------------------------------------------------------------------------------------------------------------

InterceptedProcessor::Place InterceptedProcessor::translate(std::uint64_t linear, Access access,
                                                            cpu::Privilege privilege) {
    namespace f = hypervisor::translate_gva_flag;
    using hypervisor::HvTranslateGvaResult;
    if (!long_mode()) {
        linear &= 0xffff'ffff;
    } else if (const auto top = static_cast<std::int64_t>(linear) >> 47; top != 0 && top != -1) {
        return {{cpu::LinearResult::non_canonical, 0, 0}};
    }
    const bool user = cpl() == 3 && privilege == cpu::Privilege::user;
    std::uint64_t flags = f::set_page_table_bits;
    flags |= access == Access::write ? f::validate_write : access == Access::fetch ? f::validate_execute : 0;
    if (access == Access::read) flags |= f::validate_read;
    if (!user) flags |= f::privilege_exempt;
    const auto answer = client_.translate(partition_, header_.vp_index, linear / page_size, flags);
    if (!answer) return {{cpu::LinearResult::nested_fault, 0, 0}};
    Place place;
    place.gpa = answer->gpa_page * page_size + linear % page_size;
    std::uint32_t error = (access == Access::write ? fault_write : 0) | (user ? fault_user : 0) |
                          (access == Access::fetch ? fault_fetch : 0);
    switch (answer->result) {
        case HvTranslateGvaResult::success:
            place.known = true;
            return place;
        case HvTranslateGvaResult::page_not_present:
            place.access = {cpu::LinearResult::page_fault, error, linear};
            return place;
        case HvTranslateGvaResult::privilege_violation:
            place.access = {cpu::LinearResult::page_fault, error | fault_present, linear};
            return place;
        case HvTranslateGvaResult::invalid_page_table_flags:
            place.access = {cpu::LinearResult::page_fault, error | fault_present | fault_reserved, linear};
            return place;
        default:
            place.known = true;
            place.access = {cpu::LinearResult::nested_fault, 0, 0};
            return place;
    }
}

// All or nothing: every page is translated, and can be reached, before anything is copied.
template <class Copy>
cpu::LinearAccess InterceptedProcessor::each_page(std::uint64_t linear, std::size_t length, Access access,
                                                  cpu::Privilege privilege, Copy copy) {
    struct Part {
        std::uint64_t gpa;
        std::size_t offset;
        std::size_t length;
    };
    std::vector<Part> parts;
    for (std::size_t done = 0; done < length;) {
        const std::uint64_t at = linear + done;
        const std::size_t part = std::min<std::size_t>(length - done, page_size - at % page_size);
        const Place place = translate(at, access, privilege);
        if (!place.access.ok()) return place.access;
        std::byte probe{};
        const auto reached = client_.read_gpa(partition_, header_.vp_index, place.gpa, std::span{&probe, 1});
        if (!reached || *reached != hypervisor::HvAccessGpaResult::success) {
            return {cpu::LinearResult::nested_fault, 0, 0};
        }
        parts.push_back({place.gpa, done, part});
        done += part;
    }
    for (const Part& part : parts) {
        const auto result = copy(part.gpa, part.offset, part.length);
        if (!result || *result != hypervisor::HvAccessGpaResult::success) {
            return {cpu::LinearResult::nested_fault, 0, 0};
        }
    }
    return {};
}

cpu::LinearAccess InterceptedProcessor::read(std::uint64_t linear, std::span<std::byte> out, cpu::Privilege privilege) {
    return each_page(linear, out.size(), Access::read, privilege,
                     [&](std::uint64_t gpa, std::size_t offset, std::size_t length) {
                         return client_.read_gpa(partition_, header_.vp_index, gpa, out.subspan(offset, length));
                     });
}

cpu::LinearAccess InterceptedProcessor::write(std::uint64_t linear, std::span<const std::byte> data,
                                              cpu::Privilege privilege) {
    return each_page(linear, data.size(), Access::write, privilege,
                     [&](std::uint64_t gpa, std::size_t offset, std::size_t length) {
                         return client_.write_gpa(partition_, header_.vp_index, gpa, data.subspan(offset, length));
                     });
}

std::optional<std::uint64_t> InterceptedProcessor::physical(std::uint64_t linear, bool write,
                                                            cpu::Privilege privilege) {
    const Place place = translate(linear, write ? Access::write : Access::read, privilege);
    return place.known ? std::optional{place.gpa} : std::nullopt;
}

std::vector<std::uint8_t> InterceptedProcessor::fetch(std::uint64_t linear) {
    constexpr std::size_t longest_instruction = 15;
    std::vector<std::uint8_t> code;
    while (code.size() < longest_instruction) {
        const std::uint64_t at = linear + code.size();
        const std::size_t part = std::min<std::size_t>(longest_instruction - code.size(), page_size - at % page_size);
        const Place place = translate(at, Access::fetch, cpu::privilege_of(cpl()));
        if (!place.access.ok()) break;
        std::vector<std::byte> bytes(part);
        const auto result = client_.read_gpa(partition_, header_.vp_index, place.gpa, bytes);
        if (!result || *result != hypervisor::HvAccessGpaResult::success) break;
        for (const std::byte b : bytes) code.push_back(std::to_integer<std::uint8_t>(b));
    }
    return code;
}

}  // namespace models
