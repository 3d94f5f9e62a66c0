// Entry point that takes hostile bytes to the storage controller and the disk behind it: packets of any content on any
// channel, in any state of it, with everything that may happen meanwhile. As a libFuzzer target
// (fuzz_vmbus_storage.cpp), and with fixed seeds in the ordinary test run (tests/vmbus/storage_fuzz_test.cpp). A
// property that fails is a VG_CHECK.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "sim/archive.h"
#include "sim/check.h"
#include "sim/processor.h"
#include "sim/simulation.h"
#include "tests/vmbus/storage_fakes.h"
#include "vmbus/storage/block_timing.h"
#include "vmbus/storage/scsi_disk.h"
#include "vmbus/storage/scsi_dvd.h"
#include "vmbus/storage/storage_provider.h"
#include "vmbus/storage/storage_qos.h"

namespace fuzz {

class HostileStorage final : private vmbus::ScsiInitiator {
public:
    struct Done {
        std::uint64_t packets = 0;
        std::uint64_t answers = 0;
        std::uint64_t succeeded = 0;  // SCSI requests
        std::uint64_t faults = 0;
    };

    explicit HostileStorage(std::span<const std::uint8_t> input) : input_(input) {
        const auto shape = take<std::uint8_t>();
        vmbus::StorageConfig config{.instance = {{9}}, .max_sub_channels = 3, .max_outstanding = 1u + (shape & 7)};
        if ((shape & 8) != 0) config.newest_version = vmbus::vstor::version_server_2012;
        if ((shape & 0x30) == 0x30) config.ide = vmbus::StorageConfig::Ide{0, 1};
        provider_.emplace(simulation_.scope("storvsp"), bus_, config,
                          [this](std::uint16_t) -> sim::Processor& { return processor_; });
        provider_->add_disk({0, 0, 0}, disks_[0].disk);
        provider_->add_disk({0, 1, 0}, disks_[1].disk);
        provider_->add_disk({0, 0, 1}, dvd_);
        beside_ = disks_[0].disk.attach(*this);
        bus_.primary().open();
        if ((shape & 0x40) != 0) initialize();
    }

    void run() {
        while (!input_.empty()) act();
        settle();
    }
    const Done& done() const { return done_; }
    sim::Simulation& simulation() { return simulation_; }

private:
    struct Disk {
        Disk(sim::Simulation& simulation, const char* name, vmbus::QosGroup& group, std::uint32_t sector)
            : store({.size_bytes = 64 << 10, .logical_sector_bytes = sector, .unmap = true}),
              timed(simulation.scope(name).child("blocks"), store, {.flush_latency = sim::Time::us(90)}),
              qos(simulation.scope(name).child("qos"), group, timed, {.limit = {.iops = 200'000}}),
              disk(simulation.scope(name), qos, {}) {}
        vmbus::MemoryStore store;
        vmbus::TimedDisk timed;
        vmbus::QosDisk qos;
        vmbus::ScsiDisk disk;
    };

    template <class T>
    T take() {
        T value{};
        const std::size_t n = std::min(input_.size(), sizeof value);
        if (n != 0) std::memcpy(&value, input_.data(), n);
        input_ = input_.subspan(n);
        return value;
    }

    vmbus::testing::FakeStorageChannel& any_channel() {
        return *bus_.channels[take<std::uint8_t>() % bus_.channels.size()];
    }

    void act() {
        const auto kind = take<std::uint8_t>();
        if (kind < 128) return put_srb();
        switch (kind % 16) {
            case 0:
                return put_anything();
            case 1:
            case 2:
                return put_control();
            case 3:
            case 4:
            case 5:
                return run_for(sim::Time::us(take<std::uint8_t>()));
            case 6:
                return run_for(sim::Time::us(take<std::uint16_t>()));
            case 7:
                any_channel().signal();
                return;
            case 8: {
                vmbus::testing::FakeStorageChannel& channel = any_channel();
                channel.room = take<std::uint8_t>() % 8;
                collect(channel);
                return;
            }
            case 9:
                bus_.close(any_channel());
                return;
            case 10:
                any_channel().open();
                return;
            case 11:
                return come_or_go();
            case 12: {
                const auto size = take<std::uint8_t>();
                disks_[size & 1].store.resize((1ull + size % 32) << 12);
                return;
            }
            case 13: {
                const auto place = take<std::uint8_t>();
                if ((place & 0xc0) == 0) disks_[place & 1].store.break_sector(std::uint64_t{place} << 9);
                disks_[place & 1].store.set_read_only((place & 0xf0) == 0xf0);
                if ((place & 0xe0) == 0xc0) (void)((place & 1) != 0 ? dvd_.insert() : dvd_.eject());
                return;
            }
            case 14:
                return act_beside();
            default:
                bus_.primary().open();
                return initialize();
        }
    }

    void initialize() {
        using vmbus::vstor::Operation;
        for (const auto operation :
             {Operation::begin_initialization, Operation::query_protocol_version, Operation::query_properties,
              Operation::end_initialization, Operation::create_sub_channels}) {
            std::array<std::uint8_t, 64> packet{static_cast<std::uint8_t>(operation)};
            if (operation == Operation::query_protocol_version) packet[13] = 5, packet[12] = 1;
            if (operation == Operation::create_sub_channels) packet[12] = 2;
            put(bus_.primary(), packet, {}, 64);
        }
        run_for(sim::Time::us(200));
        for (auto& channel : bus_.channels) channel->open();
    }

    // A well-formed packet that runs a command of the table, its fields from the input.
    void put_srb() {
        using namespace vmbus;
        const auto opcode = take<std::uint8_t>();
        const auto shape = take<std::uint8_t>();
        vstor::ScsiRequest srb{};
        srb.lun = (shape & 0x07) == 7 ? 1 : 0;
        srb.target = (shape & 0x08) != 0 ? 1 : 0;
        srb.path = (shape & 0xf0) == 0xf0 ? 1 : 0;
        srb.cdb_length = 16;
        const scsi::CommandRow& row = scsi::commands[opcode % scsi::commands.size()];
        for (auto& byte : srb.cdb_or_sense) byte = 0;
        srb.cdb_or_sense[0] = static_cast<std::uint8_t>(row.opcode);
        // A few bytes of the CDB are the input's; the others stay small, so that addresses are in range.
        for (unsigned n = shape >> 4 & 3; n != 0; --n) {
            const auto at = take<std::uint8_t>();
            srb.cdb_or_sense[1 + at % 15] = take<std::uint8_t>();
        }
        srb.data_in = row.transfer == scsi::Transfer::out ? vstor::srb::data_to_device : vstor::srb::data_from_device;
        srb.transfer_length = std::uint32_t{take<std::uint8_t>()} << 7;
        if (opcode >= 250) srb.transfer_length = take<std::uint32_t>();
        if (opcode >= 240) srb.data_in = take<std::uint8_t>();
        std::array<std::uint8_t, 64> packet{static_cast<std::uint8_t>(vstor::Operation::execute_srb)};
        std::memcpy(packet.data() + 12, &srb, sizeof srb);
        std::vector<GpaRange> ranges;
        if (srb.transfer_length != 0) ranges.push_back(range(srb.transfer_length));
        put(any_channel(), packet, std::move(ranges), (shape & 0x80) != 0 ? 64 : 48);
    }

    // As a ring gives them out: not empty, the offset in the first page, as many pages as are needed.
    vmbus::GpaRange range(std::uint32_t length) {
        vmbus::GpaRange result;
        const auto shape = take<std::uint8_t>();
        result.length = std::clamp<std::uint32_t>(length, 1, 1 << 20);
        result.offset = shape < 64 ? 0 : (shape * 67u) & 0xfff;
        const std::uint64_t pages = (std::uint64_t{result.offset} + result.length + 4095) / 4096;
        for (std::uint64_t n = 0; n < pages; ++n) result.pages.push_back((shape + n * (shape & 3)) % 32);
        if (shape == 255) result.pages.back() = ~std::uint64_t{0};
        if (shape == 254) result.pages.back() = 32;
        if (shape == 253) result.length = 1;
        return result;
    }

    void put_control() {
        const auto operation = take<std::uint8_t>();
        const auto word = take<std::uint16_t>();
        std::array<std::uint8_t, 64> packet{static_cast<std::uint8_t>(operation % 16)};
        std::memcpy(packet.data() + 12, &word, sizeof word);
        put(any_channel(), packet, {}, (operation & 0x80) != 0 ? 48 : 64);
    }

    void put_anything() {
        const auto shape = take<std::uint8_t>();
        std::array<std::uint8_t, 96> packet{};
        for (auto& byte : packet) byte = take<std::uint8_t>();
        std::vector<vmbus::GpaRange> ranges;
        for (unsigned n = shape & 3; n != 0; --n) ranges.push_back(range(take<std::uint32_t>()));
        vmbus::testing::FakeStorageChannel& channel = any_channel();
        put(channel, packet, std::move(ranges), (shape >> 2 & 15) * 8u, (shape & 0x40) == 0 || (shape & 3) != 0,
            shape >= 0xf0);
    }

    void put(vmbus::testing::FakeStorageChannel& channel, std::span<const std::uint8_t> bytes,
             std::vector<vmbus::GpaRange> ranges, std::size_t size, bool wants_completion = true, bool odd = false) {
        if (!channel.is_open() || channel.packets.size() > 64) return;
        vmbus::Packet packet;
        packet.type = ranges.empty() ? vmbus::PacketType::inband : vmbus::PacketType::gpa_direct;
        if (odd) packet.type = vmbus::PacketType::completion;
        packet.wants_completion = wants_completion;
        packet.transaction = take<std::uint8_t>();
        packet.ranges = std::move(ranges);
        const auto view = std::as_bytes(bytes.first(std::min(size, bytes.size())));
        packet.payload.assign(view.begin(), view.end());
        ++done_.packets;
        channel.put(std::move(packet));
    }

    void come_or_go() {
        const auto which = take<std::uint8_t>();
        const vmbus::StorageAddress address{0, static_cast<std::uint8_t>(which & 1), 0};
        bool& present = present_[which & 1];
        if (present) {
            provider_->remove_disk(address);
        } else if (changes_ < 32) {
            ++changes_;
            provider_->add_disk(address, disks_[which & 1].disk);
        } else {
            return;
        }
        present = !present;
    }

    // Another initiator of a shared disk.
    void act_beside() {
        if (beside_outstanding_ >= 8) return;
        vmbus::ScsiCommand command;
        for (auto& byte : command.cdb) byte = 0;
        const auto row = take<std::uint8_t>();
        command.cdb[0] = static_cast<std::uint8_t>(vmbus::scsi::commands[row % vmbus::scsi::commands.size()].opcode);
        for (std::size_t n = 1; n < 10; ++n) command.cdb[n] = (row & 0x80) != 0 ? take<std::uint8_t>() : 0;
        command.buffer_bytes = take<std::uint8_t>() * 16u;
        command.data_out.resize(std::min<std::uint64_t>(disks_[0].disk.data_out_bytes(command.cdb), 4096));
        for (std::size_t n = 0; n < std::min<std::size_t>(command.data_out.size(), 24); ++n) {
            command.data_out[n] = std::byte{take<std::uint8_t>()};
        }
        if (!disks_[0].disk.execute(beside_, command)) ++beside_outstanding_;
    }
    void scsi_done(std::uint64_t, vmbus::ScsiResult) override {
        VG_CHECK(beside_outstanding_ > 0);
        --beside_outstanding_;
    }

    void run_for(sim::Time time) {
        // A bus closes a faulty channel at once: others may wait for what was under way on it.
        sim::Agenda& agenda = simulation_.agenda();
        const sim::Time end = agenda.now() + time;
        end_faulty();
        while (agenda.next_event() <= end) {
            agenda.run_next();
            end_faulty();
        }
        agenda.run_until(end);
    }
    void end_faulty() {
        const bool any =
            std::any_of(bus_.channels.begin(), bus_.channels.end(), [](const auto& c) { return c->faulty; });
        if (!any) return;
        for (const auto& channel : bus_.channels) done_.faults += channel->faulty ? 1 : 0;
        bus_.end_faulty();
    }
    void collect(vmbus::testing::FakeStorageChannel& channel) {
        for (const auto& answer : channel.answers) {
            ++done_.answers;
            done_.succeeded += answer.bytes.size() > 14 && answer.bytes[14] == std::byte{1} ? 1 : 0;
        }
        channel.answers.clear();
        channel.unsolicited = 0;
        channel.signal();
    }

    // With room for everything, everything is answered, nothing is left and the state is small.
    void settle() {
        VG_CHECK(sim::save_to_bytes(*provider_).size() < 5'000'000);
        for (auto& channel : bus_.channels) {
            channel->room = 1'000'000;
            collect(*channel);
        }
        run_for(sim::Time::s(5));
        for (auto& channel : bus_.channels) {
            collect(*channel);
            VG_CHECK(channel->unanswered() == 0 || !channel->is_open());
            VG_CHECK(channel->packets.empty() || !channel->is_open());
        }
        VG_CHECK(provider_->outstanding() == 0);
        VG_CHECK(beside_outstanding_ == 0 && dvd_.outstanding() == 0);
        for (const Disk& disk : disks_) VG_CHECK(disk.disk.outstanding() == 0 && disk.timed.outstanding() == 0);
        run_for(sim::Time::ms(1));  // the last signals
        VG_CHECK(simulation_.agenda().next_event().is_never());
    }

    std::span<const std::uint8_t> input_;
    sim::Simulation simulation_{1};
    vmbus::testing::FakeStorageBus bus_;
    sim::SerialProcessor processor_{simulation_.scope("cpu"), sim::Time::us(1)};
    vmbus::QosGroup group_{simulation_.scope("policy"), {.limit = {.iops = 300'000}, .in_flight = 8}};
    std::array<Disk, 2> disks_{{{simulation_, "disk0", group_, 512}, {simulation_, "disk1", group_, 4096}}};
    vmbus::MemoryStore iso_{{.size_bytes = 64 << 10, .read_only = true}};
    vmbus::TimedDisk disc_{simulation_.scope("dvd.disc"), iso_, {}};
    vmbus::ScsiDvd dvd_{simulation_.scope("dvd"), disc_, {}};
    std::optional<vmbus::StorageProvider> provider_;
    vmbus::ScsiDevice::InitiatorId beside_ = 0;
    unsigned beside_outstanding_ = 0;
    std::array<bool, 2> present_{true, true};
    unsigned changes_ = 0;
    Done done_;
};

inline int vmbus_storage(std::span<const std::uint8_t> data, HostileStorage::Done* done = nullptr) {
    HostileStorage storage(data);
    storage.run();
    if (done != nullptr) {
        done->packets += storage.done().packets;
        done->answers += storage.done().answers;
        done->succeeded += storage.done().succeeded;
        done->faults += storage.done().faults;
    }
    return 0;
}

}  // namespace fuzz
