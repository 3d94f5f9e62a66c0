// Virtual functions: when they come and go, where they are found, what they answer, and with whose identity they speak.
#include <doctest/doctest.h>

#include "pci/virtual_functions.h"
#include "sim/archive.h"
#include "tests/pci/rig.h"

namespace virtual_functions_test {

using namespace pci_test;
namespace sriov = pci::sriov;

namespace {

pci::SriovCapability eight_functions() {
    pci::SriovCapability what;
    what.total_vfs = 8;
    what.first_vf_offset = 128;
    what.vf_stride = 2;
    what.vf_device_id = 0x10ed;
    what.vf_bars = {{pci::BarKind::memory64, 16384}, {}, {}, {pci::BarKind::memory32, 16384}};
    return what;
}

// A physical function on the root bus whose virtual ones are plain memory.
struct SriovRig final : Rig, pci::VirtualFunctionOwner {
    static constexpr unsigned at = 0x100;
    std::unique_ptr<RecordingDevice> physical;
    std::vector<std::unique_ptr<RecordingDevice>> virtuals;
    std::optional<pci::VirtualFunctions> functions;
    pci::RequesterId who = id(0, 2);

    SriovRig() {
        pci::FunctionLayout layout = pci::device_function(identity(), {}, pci::extended_config_bytes);
        pci::PciExpress express;
        express.function_level_reset = true;
        pci::add_express(layout.config, express);
        pci::add_sriov(layout.config, eight_functions());
        physical = device(root.bus(), 2, std::move(layout));
        functions.emplace(simulation.scope("vfs"), physical->function, eight_functions(), *this,
                          pci::VirtualFunctions::Routing{256, 4});
        set_config(who, pci::header::command, 2, pci::command::memory_space | pci::command::bus_master);
    }
    Made make_vf(unsigned vf, pci::Slot slot) override {
        CHECK(vf == virtuals.size());
        pci::FunctionLayout layout = pci::virtual_function_layout(identity());
        virtuals.push_back(std::make_unique<RecordingDevice>(simulation.scope("vf" + std::to_string(vf)),
                                                             std::move(slot), shared(std::move(layout))));
        return {virtuals.back()->function, *virtuals.back()};
    }
    void destroy_vf(unsigned vf) override {
        CHECK(vf + 1 == virtuals.size());
        virtuals.pop_back();
    }
    void reg(std::uint16_t offset, unsigned size, std::uint32_t value) { set_config(who, at + offset, size, value); }
    std::uint32_t reg(std::uint16_t offset, unsigned size) { return config(who, at + offset, size); }
    void enable(std::uint16_t count, std::uint16_t control = sriov::vf_memory_space | sriov::ari_capable_hierarchy) {
        reg(sriov::num_vfs, 2, count);
        reg(sriov::control, 2, control | sriov::vf_enable);
    }
};

}  // namespace

TEST_CASE("VF Enable makes functions at offset and stride; they have no identity and no BARs of their own") {
    SriovRig rig;
    CHECK(rig.config({0x0090}, 0, 4) == 0xffff'ffff);
    rig.enable(3);
    REQUIRE(rig.virtuals.size() == 3);
    for (unsigned vf = 0; vf < 3; ++vf) {
        const pci::RequesterId place{static_cast<std::uint16_t>(0x10 + 128 + 2 * vf)};
        CHECK(rig.virtuals[vf]->function.id() == place);
        CHECK(rig.config(place, 0, 4) == 0xffff'ffff);
        CHECK(rig.config(place, pci::header::class_code + 1, 2) == pci::class_of::ethernet);
        rig.set_config(place, pci::header::command, 2, 0xffff);
        CHECK(rig.config(place, pci::header::command, 2) == pci::command::bus_master);
        rig.set_config(place, pci::header::bar0, 4, 0xffff'ffff);
        CHECK(rig.config(place, pci::header::bar0, 4) == 0);
    }
    CHECK(rig.config({0x0096}, pci::header::class_code, 1) == 0xff);  // no fourth
    rig.reg(sriov::control, 2, 0);
    CHECK(rig.virtuals.empty());
    CHECK(rig.config({0x0090}, pci::header::class_code + 2, 1) == 0xff);
}

TEST_CASE("without ARI the functions lie on other buses; the registers tell") {
    SriovRig rig;
    CHECK(rig.reg(sriov::first_vf_offset, 2) == 256);
    CHECK(rig.reg(sriov::vf_stride, 2) == 4);
    rig.enable(2, 0);
    CHECK(rig.virtuals[1]->function.id() == pci::RequesterId{0x0114});
    rig.reg(sriov::control, 2, 0);
    rig.reg(sriov::control, 2, sriov::ari_capable_hierarchy);
    CHECK(rig.reg(sriov::first_vf_offset, 2) == 128);
    CHECK(rig.reg(sriov::vf_stride, 2) == 2);
}

TEST_CASE("each function answers at its share of the VF BARs, while VF Memory Space Enable is set") {
    SriovRig rig;
    rig.reg(sriov::vf_bar0, 4, 0x1000'0000);
    rig.reg(sriov::vf_bar0 + 4, 4, 0x2);
    rig.reg(sriov::vf_bar0 + 12, 4, 0xe000'0000);
    rig.enable(8, sriov::ari_capable_hierarchy);
    CHECK(rig.memory(0x2'1000'0000, 4) == 0xffff'ffff);
    rig.reg(sriov::control, 2, sriov::vf_enable | sriov::vf_memory_space | sriov::ari_capable_hierarchy);
    rig.set_memory(0x2'1000'0000 + 5 * 16384 + 8, 4, 0xabcd);
    CHECK(rig.virtuals[5]->last_write == RecordingDevice::Write{0, 8, 4, 0xabcd});
    CHECK(rig.memory(0x2'1000'0000 + 5 * 16384 + 8, 4) == 0xabcd);
    rig.set_memory(0xe000'0000 + 7 * 16384 + 0x3000, 8, 1);
    CHECK(rig.virtuals[7]->last_write == RecordingDevice::Write{3, 0x3000, 8, 1});
    CHECK(rig.memory(0xe000'0000 + 8 * 16384, 4) == 0xffff'ffff);
    rig.physical->function.remove();
    CHECK(rig.memory(0x2'1000'0000 + 5 * 16384 + 8, 4) == 0xffff'ffff);
}

TEST_CASE("a larger system page spreads the functions; it and NumVFs stay while they are there") {
    SriovRig rig;
    rig.reg(sriov::system_page_size, 4, 3);  // two sizes at once: refused
    CHECK(rig.reg(sriov::system_page_size, 4) == 1);
    rig.reg(sriov::system_page_size, 4, 1u << 4);  // 64 KiB
    rig.reg(sriov::vf_bar0, 4, 0xffff'ffff);
    CHECK(rig.reg(sriov::vf_bar0, 4) == 0xffff'0004);
    rig.reg(sriov::vf_bar0, 4, 0x1000'8000);
    CHECK(rig.reg(sriov::vf_bar0, 4) == 0x1000'0004);
    rig.enable(4);
    CHECK(rig.functions->bar_address(3, 0) == 0x1003'0000);
    rig.reg(sriov::system_page_size, 4, 1);
    CHECK(rig.reg(sriov::system_page_size, 4) == 1u << 4);
    rig.reg(sriov::num_vfs, 2, 2);
    CHECK(rig.reg(sriov::num_vfs, 2) == 4);
    rig.set_memory(0x1003'0004, 4, 9);
    CHECK(rig.virtuals[3]->last_write == RecordingDevice::Write{0, 4, 4, 9});
}

TEST_CASE("too many functions, or a place that is taken: none comes and the bit stays clear") {
    SriovRig rig;
    rig.enable(9);
    CHECK(rig.virtuals.empty());
    CHECK((rig.reg(sriov::control, 2) & sriov::vf_enable) == 0);
    const pci::Slot taken = rig.root.bus().slot_at(0x10 + 128 + 4);
    rig.enable(3);
    CHECK(rig.virtuals.empty());
    CHECK((rig.reg(sriov::control, 2) & sriov::vf_enable) == 0);
    rig.enable(2);
    CHECK(rig.virtuals.size() == 2);
}

TEST_CASE("a virtual function speaks with its own identity; the physical one's reset takes all away") {
    SriovRig rig;
    rig.enable(2);
    const pci::RequesterId second{0x0092};
    std::array<std::byte, 4> data{};
    CHECK(rig.virtuals[1]->function.master().write(0x1000, data) == pci::DmaStatus::not_sent);
    rig.set_config(second, pci::header::command, 2, pci::command::bus_master);
    CHECK(rig.virtuals[1]->function.master().write(0x1000, data) == pci::DmaStatus::ok);
    CHECK(rig.host.last_requester == second);
    rig.physical->function.reset(pci::ResetKind::function_level);
    CHECK(rig.virtuals.empty());
    CHECK(rig.reg(sriov::num_vfs, 2) == 0);
    CHECK(rig.reg(sriov::first_vf_offset, 2) == 256);
}

TEST_CASE("restored: the functions are made again, with their state") {
    SriovRig first;
    first.reg(sriov::vf_bar0, 4, 0x1000'0000);
    first.enable(5);
    first.set_config({0x0094}, pci::header::command, 2, pci::command::bus_master);
    sim::Writer writer;
    writer(first.physical->function, *first.functions);
    for (auto& vf : first.virtuals) writer(vf->function);
    SriovRig second;
    second.enable(7);
    sim::Reader reader(writer.data());
    reader(second.physical->function, *second.functions);
    for (auto& vf : second.virtuals) reader(vf->function);
    REQUIRE(second.virtuals.size() == 5);
    CHECK(second.virtuals[2]->function.master().enabled());
    second.set_memory(0x1000'0000 + 4 * 16384, 4, 3);
    CHECK(second.virtuals[4]->last_write.value == 3);
}

}  // namespace virtual_functions_test
