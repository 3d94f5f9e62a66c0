// Entry point that takes hostile bytes to the Hyper-V interface of a child: register writes, hypercalls, memory under
// the hypervisor's pages, in any order. As a libFuzzer target (fuzz_hypervisor_child.cpp), and with fixed seeds in the
// ordinary test run (tests/hypervisor/hostile_child_test.cpp). A property that fails is a VG_CHECK.
#pragma once

#include <array>
#include <cstdint>
#include <span>

#include "sim/check.h"
#include "tests/fuzz/cpu_inputs.h"
#include "tests/hypervisor/synthetic_machine.h"

namespace fuzz {

class HostileChild final {
public:
    struct Done {
        std::uint64_t writes = 0;
        std::uint64_t writes_taken = 0;
        std::uint64_t calls = 0;
        std::uint64_t calls_taken = 0;
    };

    HostileChild() {
        for (std::uint32_t n = 0; n < 2; ++n) {
            const hypervisor::PortAddress port{hypervisor::root_partition, 40 + n};
            if (n == 0) {
                good(m_.client.create_message_port(port, m_.id, 0, 2));
            } else {
                good(m_.client.create_event_port(port, m_.id, 0, 2, 0, 64));
            }
            good(m_.client.connect_port({m_.id, 4 + n}, port,
                                        n == 0 ? hypervisor::HvPortType::message : hypervisor::HvPortType::event));
        }
        good(m_.client.deposit(m_.id, 32));
    }

    void act(Input& input) {
        const auto kind = input.take<std::uint8_t>();
        if (kind < 80) return write_register(input);
        if (kind < 160) return call(input);
        switch (kind % 8) {
            case 0:
                (void)m_.processor.read_msr(number(input));
                break;
            case 1:
                store(input);
                break;
            case 2:
                return from_outside(input);
            case 3:
                m_.run_until(m_.simulation.agenda().now() + sim::Time::us(input.take<std::uint16_t>() >> 3));
                break;
            case 4:
                m_.port.waiting = (input.take<std::uint8_t>() & 1) != 0;
                m_.processor.excuse_eoi(input.take<std::uint8_t>(), (input.take<std::uint8_t>() & 1) != 0);
                break;
            case 5:
                m_.processor.settle_eoi();
                break;
            case 6: {
                const auto name = static_cast<hypervisor::HvRegister>(0xa0000 + input.take<std::uint8_t>());
                (void)m_.processor.set_register(name, {value(input), 0});
                break;
            }
            default:
                m_.set_code((input.take<std::uint8_t>() & 3) != 0);
                m_.port.guest.set_xmm(input.take<std::uint8_t>() % 6, {value(input), value(input)});
                break;
        }
        m_.port.forget();
    }

    // What must hold whatever the guest did.
    void check() {
        using namespace hypervisor;
        // State of bounded size that can be saved.
        const auto saved = sim::save_to_bytes(m_.processor);
        VG_CHECK(saved.size() <= synic_sint_count * (SyntheticProcessor::message_queue_length + 1) * 300 + 4096);
        // With all pages gone the guest sees its memory, and the pool has them back.
        (void)m_.processor.write_msr(msr::guest_os_id, 0);
        for (const std::uint32_t page : {msr::reference_tsc, msr::simp, msr::siefp, msr::vp_assist_page}) {
            VG_CHECK(m_.processor.write_msr(page, 0));
        }
        for (std::uint64_t page = 0; page < m_.guest_pages; ++page) {
            const auto seen = m_.partition.gpa_space().translate(page << 12);
            VG_CHECK(seen && seen->spa == (m_.first_spa_page + page) << 12 && !seen->overlay);
        }
        const auto balance = m_.client.memory_balance(m_.id);
        VG_CHECK(balance && balance->in_use <= 512);
        for (const std::uint32_t count : {0u, 1u, 2u, 3u}) {
            VG_CHECK(m_.processor.write_msr(msr::stimer0_count + 2 * count, 0));
        }
    }

    const Done& done() const { return done_; }

private:
    static void good(hypervisor::HvStatus status) { VG_CHECK(status == hypervisor::HvStatus::success); }

    static std::uint64_t value(Input& input) {
        const auto kind = input.take<std::uint8_t>();
        const auto word = input.take<std::uint64_t>();
        switch (kind % 8) {
            case 0:
                return kind >> 3;
            case 1:  // a page in memory, enabled
                return (word % 260) << 12 | 1;
            case 2:  // an address in memory
                return word % (260 << 12);
            case 3:
                return std::uint64_t{1} << (word & 63);
            case 4:  // a set of processors, a vector, a timer's mode
                return word & 0xf'1fff;
            case 5:  // near now in reference time
                return word & 0xffff;
            case 6:
                return (word & 0xff00) != 0 ? (word & 0x0000'000f'0000'000f) | 0x0002'0000'0002'0000 : word & 0x7ff;
            default:
                return word;
        }
    }

    static std::uint32_t number(Input& input) {
        const auto kind = input.take<std::uint8_t>();
        const auto offset = input.take<std::uint16_t>();
        if (kind < 8) return input.take<std::uint32_t>();
        constexpr std::array<std::uint32_t, 12> families{0x00, 0x00, 0x20, 0x70, 0x80,  0x80,
                                                         0x90, 0xb0, 0xb0, 0xf0, 0x100, 0x118};
        return 0x4000'0000 + families[kind % families.size()] + offset % (kind < 40 ? 16 : 5);
    }

    void write_register(Input& input) {
        ++done_.writes;
        const std::uint32_t n = number(input);
        if (m_.processor.write_msr(n, value(input))) ++done_.writes_taken;
        m_.port.forget();
    }

    void store(Input& input) {
        std::array<std::uint64_t, 4> words{};
        const std::uint64_t gpa = value(input);
        for (auto& word : words) word = value(input);
        (void)m_.partition.gpa_space().write(gpa, std::as_bytes(std::span{words}));
    }

    void from_outside(Input& input) {
        hypervisor::HvMessage message{};
        message.header.message_type = input.take<std::uint32_t>() | 1;
        message.header.payload_size = input.take<std::uint8_t>() % 241;
        const std::uint32_t sint = input.take<std::uint8_t>() % 18;
        for (unsigned n = input.take<std::uint8_t>() & 31; n != 0; --n) {
            (void)m_.processor.post_message(sint, message);
            (void)m_.processor.signal_event(sint, static_cast<std::uint16_t>(n * 97));
        }
        m_.port.forget();
    }

    void call(Input& input) {
        using namespace hypervisor;
        constexpr std::array<HvCall, 16> codes{HvCall::flush_virtual_address_space,
                                               HvCall::flush_virtual_address_list,
                                               HvCall::flush_virtual_address_space_ex,
                                               HvCall::flush_virtual_address_list_ex,
                                               HvCall::notify_long_spin_wait,
                                               HvCall::send_synthetic_cluster_ipi,
                                               HvCall::send_synthetic_cluster_ipi_ex,
                                               HvCall::retarget_device_interrupt,
                                               HvCall::ext_query_capabilities,
                                               HvCall::post_message,
                                               HvCall::signal_event,
                                               HvCall::get_vp_registers,
                                               HvCall::set_vp_registers,
                                               HvCall::get_vp_registers,
                                               HvCall::map_gpa_pages,
                                               HvCall::create_port};
        ++done_.calls;
        const auto shape = input.take<std::uint8_t>();
        const auto code = input.take<std::uint16_t>();
        const auto counts = input.take<std::uint32_t>();
        std::uint64_t control = shape < 16 ? code : static_cast<std::uint64_t>(codes[code % codes.size()]);
        const auto row = static_cast<HvCall>(control);
        const bool list = row == HvCall::flush_virtual_address_list || row == HvCall::flush_virtual_address_list_ex ||
                          row == HvCall::get_vp_registers || row == HvCall::set_vp_registers;
        const bool odd = (shape & 0xc0) == 0xc0;  // a quarter is shaped as no such call is
        const bool set = row == HvCall::flush_virtual_address_space_ex ||
                         row == HvCall::flush_virtual_address_list_ex || row == HvCall::send_synthetic_cluster_ipi_ex;
        if ((shape & 1) != 0) control |= std::uint64_t{1} << 16;
        if (set != odd) control |= std::uint64_t{counts & 3} << 17;
        if (list != odd) control |= std::uint64_t{counts >> 8 & ((shape & 2) != 0 ? 0xfff : 0x7)} << 32;
        if ((shape & 0x30) == 0x30) control |= std::uint64_t{counts >> 20 & ((shape & 4) != 0 ? 0xfff : 0x3)} << 48;
        if (shape >= 250) control |= std::uint64_t{1} << (code & 63);
        // Half of all lists lie well.
        std::uint64_t in = value(input);
        std::uint64_t out = value(input);
        if ((code & 0xc000) != 0) {
            in = 0x30'000 + (in & 0x18);
            out = 0x40'000 + (out & 0xff8);
            std::array<std::uint64_t, 8> words{hv_partition_id_self, hv_vp_index_self};
            for (std::size_t n = (code & 0x2000) != 0 ? 2 : 0; n < words.size(); ++n)
                words[n] = (shape & 8) != 0 ? input.take<std::uint8_t>() & 7 : value(input);
            (void)m_.partition.gpa_space().write(in, std::as_bytes(std::span{words}));
        }
        cpu::GuestContext& guest = m_.port.guest;
        const bool wide = guest.code_64bit();
        guest.set_gpr(cpu::Gpr::rcx, wide ? control : in);
        guest.set_gpr(cpu::Gpr::rdx, wide ? in : control >> 32);
        guest.set_gpr(cpu::Gpr::r8, out);
        guest.set_gpr(cpu::Gpr::rax, control & 0xffff'ffff);
        guest.set_gpr(cpu::Gpr::rbx, 0);
        guest.set_gpr(cpu::Gpr::rsi, out);
        guest.set_gpr(cpu::Gpr::rdi, 0);
        for (unsigned entries = 1; !m_.processor.hypercall(); ++entries) VG_CHECK(entries <= 64);
        if ((guest.gpr(cpu::Gpr::rax) & 0xffff) == 0) ++done_.calls_taken;
        m_.port.forget();
        for (auto& received : m_.receiver.received) VG_CHECK(received.payload.size() <= message_payload_bytes);
        m_.receiver.received.clear();
    }

    hypervisor::test::SyntheticMachine m_;
    Done done_;
};

inline int hypercall_child(std::span<const std::uint8_t> data, HostileChild::Done* done = nullptr) {
    HostileChild child;
    Input input{data};
    while (!input.rest().empty()) child.act(input);
    child.check();
    if (done != nullptr) {
        done->writes += child.done().writes;
        done->writes_taken += child.done().writes_taken;
        done->calls += child.done().calls;
        done->calls_taken += child.done().calls_taken;
    }
    return 0;
}

}  // namespace fuzz
