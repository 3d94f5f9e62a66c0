// A hostile driver of a virtual function, whose acts come out of an input's bytes: registers, descriptors, messages,
// addresses, floods and resets, most of them nearly right. As libFuzzer targets (fuzz_nic_*.cpp), with kept seeds and
// at length in the ordinary tests (tests/sriov_nic/isolation_test.cpp). What must hold is checked at every access
// (GuardedMemory), after each act, and in the end, when the neighbour's frames still go their way.
#pragma once

#include <array>
#include <span>
#include <vector>

#include "tests/fuzz/byte_input.h"
#include "tests/sriov_nic/guarded_machine.h"

namespace fuzz {

using namespace sriov_nic;  // NOLINT: a test's own namespace
using nic_test::GuardedMachine;
using nic_test::GuardedSettings;
using nic_test::WatchedWire;

// `Input` gives byte(), take<T>() and flag(); its rings have so many entries.
template <class Input, unsigned ring_entries = 256>
class HostileVf {
public:
    HostileVf(GuardedMachine& machine, unsigned vf)
        : machine_(machine), registers_(*machine.registers[vf]), own_(machine.memory.memory_of(vf)), vf_(vf) {
        for (unsigned i = 0; i < 64; ++i) address_frame(own_.subspan(buffer_at(i)), nic_test::stranger);
    }

    // Any of them; the likely ones keep engines at work.
    void act(Input& in) {
        switch (in.byte() % 32) {
            case 0:
            case 1:
            case 2:
                return write_register(in);
            case 3:
                return read_register(in);
            case 4:
                return set_up(in, false);
            case 5:
                return set_up(in, true);
            case 6:
            case 7:
            case 8:
            case 9:
                return transmit_descriptors(in);
            case 10:
            case 11:
                return receive_descriptors(in);
            case 12:
            case 13:
            case 14:
            case 15:
                return doorbell(in, vf_reg::tdbal);
            case 16:
            case 17:
            case 18:
                return doorbell(in, vf_reg::rdbal);
            case 19:
            case 20:
            case 21:
            case 22:
                return make_frame(in);
            case 23:
            case 24:
                return send_message(in);
            case 25:
                return any_message(in);
            case 26:
                return interrupts(in);
            case 27:
                return message_table(in);
            case 28:
            case 29:
                return flood(in);
            case 30:
                return in.byte() % 8 == 0 ? reset(in) : storm(in);
            default:
                return in.byte() % 8 == 0 ? configuration(in) : make_frame(in);
        }
    }

    // What a driver writes when it opens, mostly: the other acts meet queues that work.
    void set_up(Input& in, bool receive) {
        const std::uint8_t how = in.byte();
        const unsigned queue = how & 1;
        const std::uint32_t at = (receive ? vf_reg::rdbal : vf_reg::tdbal) + 0x40 * queue;
        const bool odd = (how & 0xe) == 0;
        const std::uint64_t base = odd ? address(in) : ring_at(queue, receive);
        registers_.write_register(at + 0x28, 0);
        registers_.write_register(at, static_cast<std::uint32_t>(base));
        registers_.write_register(at + 4, static_cast<std::uint32_t>(base >> 32));
        registers_.write_register(at + 8, odd ? word(in) : ring_bytes);
        registers_.write_register(at + 0x10, (how & 0x30) == 0 ? word(in) : 0);
        registers_.write_register(at + 0x18, (how & 0x10) == 0 ? word(in) & 0x1ff : 0);
        if (receive) {
            static constexpr std::uint32_t types[] = {srrctl::advanced_one, srrctl::legacy, srrctl::advanced_split,
                                                      srrctl::advanced_split_always};
            const std::uint8_t split = in.byte();
            registers_.write_register(at + 0x14, types[split & 3] << 25 | 4u << 8 | (split >> 2 & 7));
            registers_.write_register(at + 0x2c, (split & 0xe0) == 0 ? word(in) : 0);
            registers_.write_register(at + 0x28, rxdctl::enable | (odd ? word(in) : 0));
        } else {
            const bool head = (how & 0xc0) == 0xc0;
            const std::uint64_t where = head ? address(in) | 1 : 0;
            registers_.write_register(at + 0x38, static_cast<std::uint32_t>(where));
            registers_.write_register(at + 0x3c, static_cast<std::uint32_t>(where >> 32));
            static constexpr std::uint32_t controls[] = {8u << 16 | 1u << 8 | 32, 0, 1u << 16, 40u << 16 | 8};
            registers_.write_register(at + 0x28, txdctl::enable | (odd ? word(in) : controls[how >> 6 & 3]));
        }
        registers_.write_register(vf_reg::ivar, 0x8080'8080);
    }

    void write_register(Input& in) {
        const std::uint32_t offset = register_offset(in);
        // A reset now and then is an act of its own.
        if (offset != vf_reg::ctrl || (in.byte() & 15) == 0) registers_.write_register(offset, word(in));
    }
    void read_register(Input& in) {
        const std::uint8_t sizes = in.byte();
        const unsigned size = 1u << (sizes & 3);
        (void)machine_.adapter.read_virtual_bar(vf_, virtual_register_bar, register_offset(in) & ~(size - 1), size);
    }

    void transmit_descriptors(Input& in) {
        const std::uint8_t how = in.byte();
        const unsigned queue = how & 1;
        const unsigned at = in.byte() % ring_entries;
        for (unsigned i = 0; i <= (how >> 1 & 7); ++i) {
            put(ring_at(queue, false) + descriptor_bytes * ((at + i) % ring_entries), transmit_descriptor(in));
        }
    }
    void receive_descriptors(Input& in) {
        const std::uint8_t how = in.byte();
        const unsigned at = in.byte() % ring_entries;
        for (unsigned i = 0; i <= (how >> 1 & 31); ++i) {
            const std::uint64_t where = (how & 0xc0) == 0 ? address(in) : buffer_at(i + at);
            put(ring_at(how & 1, true) + descriptor_bytes * ((at + i) % ring_entries), {where, where ^ 0x800});
        }
    }
    void doorbell(Input& in, std::uint32_t base) {
        const std::uint16_t how = in.template take<std::uint16_t>();
        const std::uint32_t tail = (how & 0xc000) == 0 ? how : how % ring_entries;
        registers_.write_register(base + 0x40 * (how >> 13 & 1) + 0x18, tail);
    }
    // A whole ring of what costs its neighbours most: crumbs, each on a page of its own; the largest frames; segments
    // of a byte; frames for everybody; frames for itself, which has one descriptor at a time for them.
    void storm(Input& in) {
        const std::uint8_t how = in.byte();
        const unsigned queue = how >> 7;
        set_up_plainly(queue);
        for (unsigned i = 0; i < ring_entries; ++i) {
            const std::uint64_t page =
                first_buffer + 0x1000 * ((i * 7 + how) % ((own_.size() - first_buffer) / 0x1000));
            const std::uint64_t data = tx::extended | tx::type_data;
            const std::uint64_t whole = data | tx::end_of_packet | tx::report_status;
            const std::uint64_t crumb = page + (page % 0x10000 == 0xf000 ? 0x1000 : 0);
            Descriptor d;
            switch (how & 7) {
                case 0:
                case 1:
                    d = {crumb, i % 39 == 38 ? whole | 1 : data | 2};
                    break;
                case 2:
                    d = {crumb, i % 32 == 31 ? whole | 400 : data | 498};
                    break;
                case 3:
                    d = {buffer_at(0), whole | 15'000};
                    break;
                case 4:
                    d = i % 2 == 0
                            ? Descriptor{14u << 9 | 20, std::uint64_t{1u << 16 | 20u << 8} << 32 | tx::extended |
                                                            tx::type_context | 1u << 11}
                            : Descriptor{buffer_at(1), std::uint64_t{1500} << 46 | whole | tx::segmentation | 1554};
                    break;
                default:
                    d = {buffer_at(2 + i % 8), std::uint64_t{60} << 46 | whole | 60};
                    break;
            }
            put(ring_at(queue, false) + descriptor_bytes * i, d);
        }
        const MacKey to = (how & 7) == 7   ? GuardedMachine::mac_of_vf(vf_)
                          : (how & 7) == 6 ? broadcast_mac
                                           : nic_test::stranger;
        for (unsigned i = 0; i < 10; ++i) address_frame(own_.subspan(buffer_at(i)), to);
        for (std::uint64_t at = first_buffer; at < own_.size(); at += 0x1000) address_frame(own_.subspan(at), to);
        registers_.write_register(vf_reg::tdbal + 0x18 + 0x40 * queue, ring_entries - 1);
    }
    void address_frame(std::span<std::byte> at, MacKey to) {
        const MacKey from = GuardedMachine::mac_of_vf(vf_);
        std::memcpy(at.data(), &to, 6);
        std::memcpy(&at[6], &from, 6);
        store_be16(&at[12], 0x88b5);
    }
    void set_up_plainly(unsigned queue) {
        for (const bool receive : {false, true}) {
            const std::uint32_t at = (receive ? vf_reg::rdbal : vf_reg::tdbal) + 0x40 * queue;
            registers_.write_register(at + 0x28, 0);
            registers_.write_register(at, static_cast<std::uint32_t>(ring_at(queue, receive)));
            registers_.write_register(at + 4, 0);
            registers_.write_register(at + 8, ring_bytes);
            registers_.write_register(at + 0x10, 0);
            registers_.write_register(at + 0x18, 0);
            registers_.write_register(at + 0x38, 0);
            if (receive) registers_.write_register(at + 0x14, srrctl::advanced_one << 25 | 4u << 8 | 2);
            registers_.write_register(at + 0x28, receive ? rxdctl::enable : txdctl::enable | 32);
        }
    }
    // Doorbells, causes and reads of causes, as fast as they go.
    void flood(Input& in) {
        const std::uint8_t how = in.byte();
        const unsigned count = 1 + in.byte() % 64;
        if ((how & 7) == 0) registers_.write_register(vf_reg::eitr + 4 * (how >> 3 & 1), 0);
        for (unsigned i = 0; i < count; ++i) {
            switch (how & 3) {
                case 0:
                    registers_.write_register(vf_reg::eims, 7);
                    registers_.write_register(vf_reg::eics, 7);
                    break;
                case 1:
                    registers_.write_register(vf_reg::tdbal + 0x18 + 0x40 * (i & 1), (how + i) % ring_entries);
                    break;
                case 2:
                    registers_.write_register(vf_reg::rdbal + 0x18 + 0x40 * (i & 1), (how + i) % ring_entries);
                    break;
                default:
                    registers_.write_register(vf_reg::mailbox, mailbox::request | mailbox::vf_owns);
                    (void)registers_.read_register(vf_reg::mailbox);
                    break;
            }
        }
    }
    void interrupts(Input& in) {
        const std::uint8_t how = in.byte();
        registers_.write_register(vf_reg::ivar + 4 * (how & 3), word(in));
        registers_.write_register(vf_reg::ivar_misc, in.byte());
        registers_.write_register(vf_reg::eitr + 4 * (how >> 2 & 3), word(in));
        registers_.write_register(vf_reg::eims, how >> 4);
    }
    // MSI-X: handles of others' vectors, addresses that are no handles.
    void message_table(Input& in) {
        const std::uint8_t how = in.byte();
        const unsigned vector = how & 3;
        std::uint64_t where = 0xfee0'0010 | std::uint64_t{in.byte()} << 5;
        if ((how & 0x1c) == 0) where = GuardedMachine::handle(vf_, vector % virtual_vectors);
        if ((how & 0xe0) == 0) where = address(in);
        machine_.adapter.write_virtual_bar(vf_, virtual_msix_bar, 16 * vector, 8, where);
        machine_.adapter.write_virtual_bar(vf_, virtual_msix_bar, 16 * vector + 8, 8, (how & 0x80) != 0 ? word(in) : 0);
        (void)machine_.adapter.read_virtual_bar(vf_, virtual_msix_bar, msix_pending_offset + (how & 8), 8);
    }

    // Messages that have a meaning, with contents that mostly have one.
    void send_message(Input& in) {
        const MailboxMessage& kind = mailbox_messages[in.byte() % mailbox_messages.size()];
        const std::uint8_t how = in.byte();
        std::array<std::uint32_t, mailbox::dwords> words{};
        words[0] = kind.type | std::uint32_t{in.byte()} << 16;
        if ((how & 3) != 0) {
            const MacKey mac = (how & 12) == 0   ? GuardedMachine::mac_of_vf(0)
                               : (how & 12) == 4 ? nic_test::physical_mac
                                                 : GuardedMachine::mac_of_vf(how >> 4);
            words[1] = kind.type == message::negotiate_api || kind.type == message::update_cast_mode
                           ? how >> 4
                           : static_cast<std::uint32_t>(mac);
            words[2] = static_cast<std::uint32_t>(mac >> 32);
        } else {
            for (unsigned i = 1; i < 4; ++i) words[i] = word(in);
        }
        if (kind.type == message::reset) words[0] = message::reset;
        for (unsigned i = 0; i < 4; ++i) registers_.write_register(vf_reg::mbmem + 4 * i, words[i]);
        registers_.write_register(vf_reg::mailbox, mailbox::vf_owns);
        registers_.write_register(vf_reg::mailbox, mailbox::request);
        if ((how & 0x80) != 0) host_looks();
    }
    void any_message(Input& in) {
        const std::uint8_t how = in.byte();
        for (std::uint32_t i = 0; i <= (how & 15u); ++i) registers_.write_register(vf_reg::mbmem + 4 * i, word(in));
        registers_.write_register(vf_reg::mailbox, how >> 4 | mailbox::request);
        if (in.flag()) host_looks();
        for (std::uint32_t i = 0; i < 4; ++i) (void)registers_.read_register(vf_reg::mbmem + 4 * i);
        (void)registers_.read_register(vf_reg::mailbox);
    }

    // Something to send: addresses that are another's, tags, pause frames, headers of all kinds.
    void make_frame(Input& in) {
        const std::uint16_t how = in.template take<std::uint16_t>();
        const std::span<std::byte> at = own_.subspan(buffer_at(how & 63) % own_.size(), 128);
        static constexpr MacKey pause = 0x0100'00c2'8001, group = 0x0100'005e'0001;
        const unsigned to = how >> 6 & 7, from = how >> 9 & 7;
        const MacKey destination = to < 4    ? GuardedMachine::mac_of_vf(to % machine_.settings.vfs)
                                   : to == 4 ? broadcast_mac
                                   : to == 5 ? group
                                   : to == 6 ? pause
                                             : nic_test::stranger;
        const MacKey source = from < 5    ? GuardedMachine::mac_of_vf(vf_)
                              : from == 5 ? GuardedMachine::mac_of_vf(0)
                              : from == 6 ? nic_test::physical_mac
                                          : nic_test::stranger;
        std::memcpy(at.data(), &destination, 6);
        std::memcpy(&at[6], &source, 6);
        static constexpr std::uint16_t types[] = {ethertype_ipv4, ethertype_ipv6, 0x88b5, ethertype_vlan};
        const unsigned kind = to == 6 ? 4 : how >> 12 & 3;
        store_be16(&at[12], kind == 4 ? ethertype_flow_control : types[kind]);
        if (kind == 0) {
            store_be16(&at[14], 0x4500);
            store_be16(&at[16], static_cast<std::uint16_t>(how));
            at[23] = static_cast<std::byte>((how >> 14 & 1) != 0 ? 6 : in.byte());
        } else if (kind == 1) {
            at[14] = std::byte{0x60};
            at[20] = static_cast<std::byte>((how >> 14 & 1) != 0 ? 17 : in.byte());
        } else if (kind == 3) {
            store_be16(&at[14], static_cast<std::uint16_t>(in.flag() ? 100 : in.template take<std::uint16_t>()));
            store_be16(&at[16], types[how >> 14]);
        } else if (kind == 4) {
            store_be16(&at[14], 1);
            store_be16(&at[16], 0xffff);
        }
    }

    void reset(Input& in) {
        const std::uint8_t how = in.byte();
        if ((how & 3) == 0) {
            const unsigned express = function().config().layout().capability(pci::capability_id::express);
            function().write_config(express + pci::express::device_control, 2, 1u << 15);
        } else {
            registers_.write_register(vf_reg::ctrl, ctrl::reset);
        }
        if ((how & 4) != 0) host_looks();
        if ((how & 8) != 0) machine_.switch_on(vf_);
    }
    // Its configuration space: bus mastering in the middle of transfers, MSI-X, power, anything.
    void configuration(Input& in) {
        const std::uint8_t how = in.byte();
        switch (how & 3) {
            case 0:
                function().write_config(pci::header::command, 2, in.byte() & 7);
                break;
            case 1:
                function().write_config(in.template take<std::uint16_t>() & 0xffc, 4, word(in));
                break;
            case 2:
                (void)function().read_config(hyper_v_mac_offset, 1);  // stops its queues
                break;
            default:
                machine_.switch_on(vf_);
                break;
        }
    }
    // The host's driver runs and answers.
    void host_looks() { machine_.driver.interrupt(); }

    // Descriptors: raw ones, and those of each kind, with lengths, addresses and headers that do not fit.
    Descriptor transmit_descriptor(Input& in) {
        const std::uint8_t how = in.byte();
        static constexpr std::uint32_t usual = tx::end_of_packet | tx::report_status | tx::insert_fcs;
        const auto here = [&] { return (how & 0x70) == 0 ? address(in) : buffer_at(in.byte() & 63); };
        const auto bytes = [&]() -> std::uint32_t {
            const std::uint16_t n = in.template take<std::uint16_t>();
            return (n & 0xc000) == 0 ? n : n % 1800;
        };
        switch (how & 15) {
            case 0:
                return {in.template take<std::uint64_t>(), in.template take<std::uint64_t>()};
            case 1: {  // a context: header lengths, segment size
                const std::uint16_t n = in.template take<std::uint16_t>();
                const std::uint64_t sizes = (n & 7) == 0 ? n : (n & 8) != 0 ? 1460 : 1 + (n & 63);
                const std::uint32_t headers = (how & 0x10) != 0 ? word(in) : 14u << 9 | 20 | 100u << 16;
                const std::uint64_t l4 = (how & 0x20) != 0 ? in.byte() : 20;
                return {headers, std::uint64_t{sizes << 16 | l4 << 8 | (n >> 12 & 7) << 4} << 32 |
                                     (tx::extended | tx::type_context | (n & 0xc00) << 1)};
            }
            case 2:
            case 3: {  // segmentation
                const std::uint32_t n = bytes();
                const std::uint64_t payload = (how & 0x20) != 0 ? word(in) >> 14 : n;
                return {here(), (payload << 14 | (n & 7) << 4 | 0x300) << 32 | n | tx::extended | tx::type_data |
                                    tx::segmentation | usual};
            }
            case 4:
            case 5:  // a piece of a packet
                return {here(), bytes() | tx::extended | tx::type_data};
            case 6:  // nothing
                return {here(), usual | tx::extended | tx::type_data};
            case 7:
            case 8: {  // legacy, with a checksum somewhere
                const std::uint64_t n = bytes();
                return {here(), n | usual | tx::legacy_insert_checksum | std::uint64_t{in.byte()} << 16 |
                                    std::uint64_t{in.byte()} << 40};
            }
            case 9:  // with a tag of its own
                return {here(), bytes() | usual | tx::extended | tx::type_data | tx::vlan |
                                    std::uint64_t{in.byte() & 3u} << 36};
            default: {
                const std::uint64_t n = 60 + bytes() % 1500;
                return {here(), n << 46 | n | usual | tx::extended | tx::type_data};
            }
        }
    }
    void put(std::uint64_t at, const Descriptor& d) { std::memcpy(&own_[at % own_.size()], &d, sizeof d); }

    static constexpr std::uint32_t ring_bytes = ring_entries * descriptor_bytes;
    static constexpr std::uint64_t first_buffer = std::uint64_t{4} * ring_bytes;
    static std::uint64_t ring_at(unsigned queue, bool receive) {
        return std::uint64_t{ring_bytes} * (2 * queue + (receive ? 1 : 0));
    }
    std::uint64_t buffer_at(unsigned n) const { return (first_buffer + std::uint64_t{n} * 2048) % own_.size(); }

    // Where a driver might point a device: at its own pages, mapped or not, across their ends, at the neighbour's as
    // the host numbers them, at interrupts, at what no translation reaches, behind the last address there is.
    std::uint64_t address(Input& in) {
        const std::uint8_t how = in.byte();
        const std::uint64_t r = in.template take<std::uint32_t>();
        switch (how & 15) {
            case 0:
                return machine_.memory.base_of(GuardedMachine::honest) + r % machine_.memory.partition_bytes();
            case 1:
                return 0xfee0'0000 | (r & 0xf'ffff);
            case 2:
                return (r % own_.size() & ~std::uint64_t{4095}) + 4096 - (how >> 4);
            case 3:
                return ~std::uint64_t{0} - (r & 0xffff);
            case 4:
                return (std::uint64_t{1} << 48) - (r & 0x1fff) + (how >> 4 & 1) * 0x1000;
            case 5:
                return r << 32 | in.template take<std::uint32_t>();
            case 6:
                return r % machine_.memory.bytes.size();
            default:
                return r % own_.size();
        }
    }
    std::uint32_t word(Input& in) {
        const std::uint8_t how = in.byte();
        switch (how & 7) {
            case 0:
                return 0;
            case 1:
                return ~0u;
            case 2:
                return in.byte();
            case 3:
                return 1u << (how >> 3);
            default:
                return in.template take<std::uint32_t>();
        }
    }
    // Mostly those that there are.
    std::uint32_t register_offset(Input& in) {
        const std::uint16_t how = in.template take<std::uint16_t>();
        if ((how & 0x8000) != 0) return how & (virtual_bar_bytes - 1);
        const std::span<const Row<Controller>> rows = Controller::virtual_rows();
        const Row<Controller>& row = rows[how % rows.size()];
        return row.offset + row.stride * ((how >> 8) % row.count);
    }

private:
    pci::Function& function() { return machine_.function(vf_); }

    GuardedMachine& machine_;
    RegisterPort& registers_;
    std::span<std::byte> own_;
    unsigned vf_;
};

}  // namespace fuzz
