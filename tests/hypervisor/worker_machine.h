// A machine with a behavioural guest whose software only notes what happens to it, and when.
#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "hypervisor/behavioural_processor.h"
#include "whole_machine.h"

namespace hypervisor::test {

using Log = std::vector<std::pair<std::string, Time>>;

// A guest's software that notes what happens to it, and when.
struct Software final : VpSoftware {
    explicit Software(WholeMachine& m) : machine(m) {}
    void placed(BehaviouralProcessor* processor) override { vp = processor; }
    std::optional<Time> begin() override {
        if (queue.empty()) return std::nullopt;
        const Time cost = queue.front();
        queue.pop_front();
        return cost;
    }
    void account(sim::Account& account) const override { account.add("copy", Time::ns(10)); }
    void finish() override {
        note("piece");
        if (on_piece) on_piece(*vp);
    }
    void interrupt(std::uint8_t vector) override {
        note("interrupt " + std::to_string(vector));
        if (on_interrupt) on_interrupt(*vp);
    }
    void resume(std::uint32_t who, std::uint32_t step, std::uint64_t value) override {
        note("resume " + std::to_string(who) + " " + std::to_string(step) + " " + std::to_string(value));
    }
    void add(Time cost) {
        queue.push_back(cost);
        vp->work_arrived();
    }
    void note(const std::string& what) { log.emplace_back(what, machine.simulation.agenda().now()); }

    WholeMachine& machine;
    BehaviouralProcessor* vp = nullptr;
    std::deque<Time> queue;
    Log log;
    std::function<void(BehaviouralProcessor&)> on_piece;
    std::function<void(BehaviouralProcessor&)> on_interrupt;
};

constexpr std::uint64_t page(unsigned n) {
    return (0x40ull + n) << 12;
}

struct Worker : WholeMachine {
    explicit Worker(std::uint32_t vps = 1, std::uint32_t lps = 1, const HypervisorConfig& config = round_numbers(1))
        : WholeMachine(lps, config), id(make(vps)) {
        for (std::uint32_t n = 0; n < vps; ++n) {
            software.push_back(std::make_unique<Software>(*this));
            hypervisor->set_software(id, n, software[n].get());
            set(HvRegister::explicit_suspend, 0, n, id);
        }
    }
    ~Worker() {
        for (std::uint32_t n = 0; n < software.size(); ++n) hypervisor->set_software(id, n, nullptr);
    }
    PartitionId make(std::uint32_t vps) {
        const PartitionId made = *client->create_partition();
        REQUIRE(client->deposit(made, 64 + 16 * vps) == HvStatus::success);
        REQUIRE(client->set_property(made, HvPartitionProperty::privilege_flags, child_privileges) ==
                HvStatus::success);
        REQUIRE(client->set_property(made, behavioural_processors, 1) == HvStatus::success);
        REQUIRE(client->initialize_partition(made) == HvStatus::success);
        spa[made] = (source_pages + place::pages * guests++) << hv_page_shift;
        REQUIRE(client->map_range(made, 0, spa[made] >> hv_page_shift, place::pages, map_gpa_flag::permissions_mask) ==
                HvStatus::success);
        for (std::uint32_t n = 0; n < vps; ++n) REQUIRE(client->create_vp(made, n) == HvStatus::success);
        return made;
    }
    // The Hyper-V interface, as a kernel sets it up, until it halts: nine MSRs, of which the APIC's costs more.
    Time boot(std::uint32_t n = 0, bool assist = true) {
        BehaviouralProcessor& vp = *software[n]->vp;
        const Time begun = simulation.agenda().now();
        vp.set_hypercall_page(page(0));
        vp.write_msr(0x1b, 0xfee0'0c00);
        vp.write_msr(0x80f, 0x1ff);
        vp.write_msr(msr::guest_os_id, 1);
        vp.write_msr(msr::hypercall, page(1) | 1);
        if (assist) vp.write_msr(msr::vp_assist_page, page(10 + 4 * n) | 1);
        vp.write_msr(msr::simp, page(11 + 4 * n) | 1);
        vp.write_msr(msr::siefp, page(12 + 4 * n) | 1);
        vp.write_msr(msr::sint0 + 2, 0x30);
        vp.write_msr(msr::scontrol, 1);
        run();
        return simulation.agenda().now() - begun;
    }
    void assert_vector(std::uint32_t vector, std::uint32_t n = 0) {
        REQUIRE(client->assert_interrupt(id, {.vector = vector}, n) == HvStatus::success);
    }
    void run_until(Time at) { simulation.agenda().run_until(at); }
    Software& first() { return *software[0]; }

    std::vector<std::unique_ptr<Software>> software;
    PartitionId id;
};

}  // namespace hypervisor::test
