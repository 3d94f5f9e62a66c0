#include "sriov_nic/adapter.h"

namespace sriov_nic {

namespace {

constexpr std::uint32_t msix_bar_bytes = 16 * 1024;
constexpr std::uint16_t total_vfs = 64, first_vf_offset = 128, vf_stride = 2;
// Places of the capabilities, as the adapter has them; but the serial number is at 0x140 there, where our longer error
// reporting capability ends.
constexpr std::uint16_t power_at = 0x40, msi_at = 0x50, msix_at = 0x70, express_at = 0xa0, aer_at = 0x100,
                        ari_at = 0x150, sriov_at = 0x160, serial_at = 0x1b0, hyper_v_at = 0x200;

pci::PciExpress express_capability() {
    pci::PciExpress express;
    express.function_level_reset = true;
    express.max_payload_bytes = 512;
    express.generation = 2;
    express.width = 8;
    return express;
}

pci::SriovCapability sriov_capability() {
    pci::SriovCapability what;
    what.total_vfs = total_vfs;
    what.first_vf_offset = first_vf_offset;
    what.vf_stride = vf_stride;
    what.vf_device_id = virtual_device_id;
    what.vf_bars = {
        {pci::BarKind::memory64, virtual_bar_bytes, true}, {}, {}, {pci::BarKind::memory64, msix_bar_bytes, true}};
    return what;
}

pci::Identity physical_identity() {
    pci::Identity who;
    who.vendor = intel;
    who.device = physical_device_id;
    who.revision = 1;
    who.class_of = 0x0200;
    who.subsystem_vendor = intel;
    who.subsystem = 0x000c;
    who.interrupt_pin = 1;
    return who;
}

std::shared_ptr<const pci::FunctionLayout> physical_layout() {
    static const auto made = [] {
        const pci::Bar bars[] = {{pci::BarKind::memory64, physical_bar_bytes, true},
                                 {},
                                 {},
                                 {},
                                 {pci::BarKind::memory64, msix_bar_bytes, true}};
        pci::FunctionLayout layout = pci::device_function(physical_identity(), bars, pci::extended_config_bytes);
        pci::add_power_management(layout.config, {}, power_at);
        pci::MsiCapability msi;
        msi.per_vector_masking = true;
        pci::add_msi(layout.config, msi, msi_at);
        pci::add_msix(layout.config, {physical_vectors, 4, 0, 4, msix_pending_offset}, msix_at);
        pci::add_express(layout.config, express_capability(), express_at);
        pci::add_aer(layout.config, false, aer_at);
        pci::add_ari(layout.config, 0, ari_at);
        pci::add_sriov(layout.config, sriov_capability(), sriov_at);
        pci::add_serial_number(layout.config, 0x0002'00ff'ff00'00f0, serial_at);
        return std::make_shared<const pci::FunctionLayout>(std::move(layout));
    }();
    return made;
}

std::shared_ptr<const pci::FunctionLayout> virtual_layout() {
    static const auto made = [] {
        pci::FunctionLayout layout = pci::virtual_function_layout(physical_identity());
        pci::add_msix(layout.config, {virtual_vectors, virtual_msix_bar, 0, virtual_msix_bar, msix_pending_offset},
                      msix_at);
        pci::add_express(layout.config, express_capability(), express_at);
        pci::add_aer(layout.config, false, aer_at);
        pci::add_ari(layout.config, 0, ari_at);
        for (std::uint16_t i = 0; i < 6; ++i) {
            layout.config.add({"HV_MAC", static_cast<std::uint16_t>(hyper_v_at + 1 + i), 1});
        }
        return std::make_shared<const pci::FunctionLayout>(std::move(layout));
    }();
    return made;
}
static_assert(hyper_v_at + 1 == hyper_v_mac_offset);

// Registers are dwords: wider accesses are two, narrower reads a part of one, narrower writes nothing.
template <class Read>
std::uint64_t read_dwords(std::uint64_t offset, unsigned size, Read read) {
    const auto at = static_cast<std::uint32_t>(offset);
    if (size == 8) return read(at) | std::uint64_t{read(at + 4)} << 32;
    if (size == 4) return read(at);
    return read(at & ~3u) >> 8 * (at & 3) & ((1u << 8 * size) - 1);
}
template <class Write>
void write_dwords(std::uint64_t offset, unsigned size, std::uint64_t value, Write write) {
    const auto at = static_cast<std::uint32_t>(offset);
    if (size < 4) return;
    write(at, static_cast<std::uint32_t>(value));
    if (size == 8) write(at + 4, static_cast<std::uint32_t>(value >> 32));
}

std::uint64_t read_msix(const pci::MsiX& msix, std::uint64_t offset, unsigned size) {
    return offset < msix_pending_offset ? msix.read_table(offset, size)
                                        : msix.read_pending(offset - msix_pending_offset, size);
}

}  // namespace

pci::Identity virtual_identity(VfKind kind) {
    pci::Identity who = physical_identity();
    who.device = kind == VfKind::hyper_v ? hyper_v_device_id : virtual_device_id;
    who.interrupt_pin = 0;
    return who;
}

// The physical function.
class Adapter::Device final : public pci::FunctionModel {
public:
    Device(const sim::Scope& scope, pci::Slot slot, Adapter& of)
        : adapter_(of), function(scope, std::move(slot), physical_layout(), *this), msix(function) {
        msix.send_through(of.dma_);
    }
    std::uint64_t read_bar(unsigned bar, std::uint64_t offset, unsigned size) override {
        if (bar != 0) return read_msix(msix, offset, size);
        return read_dwords(offset, size, [this](std::uint32_t at) { return adapter_.controller_.read(at); });
    }
    void write_bar(unsigned bar, std::uint64_t offset, unsigned size, std::uint64_t value) override {
        if (bar == 0) {
            return write_dwords(offset, size, value,
                                [this](std::uint32_t at, std::uint32_t v) { adapter_.controller_.write(at, v); });
        }
        if (offset < msix_pending_offset) msix.write_table(offset, size, value);
    }
    void function_reset(pci::ResetKind) override { adapter_.controller_.function_reset(physical_function); }

private:
    Adapter& adapter_;

public:
    pci::Function function;
    pci::MsiX msix;
};

class Adapter::VirtualDevice final : public pci::FunctionModel, private pci::ConfigListener {
public:
    VirtualDevice(const sim::Scope& scope, pci::Slot slot, Adapter& of, unsigned number)
        : adapter_(of), vf_(number), function(scope, std::move(slot), virtual_layout(), *this), msix(function) {
        msix.send_through(of.dma_);
        for (std::uint16_t i = 0; i < 6; ++i) {
            function.config().listen(static_cast<std::uint16_t>(hyper_v_mac_offset + i), 1, *this);
        }
    }
    std::uint64_t read_bar(unsigned bar, std::uint64_t offset, unsigned size) override {
        return adapter_.read_virtual_bar(vf_, bar, offset, size);
    }
    void write_bar(unsigned bar, std::uint64_t offset, unsigned size, std::uint64_t value) override {
        adapter_.write_virtual_bar(vf_, bar, offset, size, value);
    }
    void function_reset(pci::ResetKind) override { adapter_.controller_.function_reset(vf_); }
    void add_needs(sim::WorkingSet& set) const override {
        set.add(&adapter_.virtuals_[vf_], sizeof adapter_.virtuals_[vf_]);
        set.add(this, 2 * sizeof(void*));
        msix.add_needs(set);
        adapter_.controller_.add_needs(vf_, set);
    }

private:
    void config_written(std::uint16_t, std::uint32_t, std::uint32_t) override {}
    std::uint32_t config_read(std::uint16_t offset, std::uint32_t) override {
        if (offset == hyper_v_mac_offset) adapter_.controller_.quiesce(vf_);
        return static_cast<std::uint32_t>(adapter_.hyper_v_mac_[vf_] >> 8 * (offset - hyper_v_mac_offset)) & 0xff;
    }
    Adapter& adapter_;
    unsigned vf_;

public:
    pci::Function function;
    pci::MsiX msix;
};

Adapter::Adapter(const sim::Scope& scope, pci::Slot slot, pci::DmaPort& dma, Wire& wire, const Profile& profile)
    : scope_(scope), dma_(dma), controller_(scope, profile, *this, wire) {
    device_ = std::make_unique<Device>(scope.child("function"), std::move(slot), *this);
    pci::VirtualFunctionOwner& owner = *this;
    functions_.emplace(scope, device_->function, sriov_capability(), owner);
}

Adapter::~Adapter() {
    functions_.reset();
}

pci::Function& Adapter::physical() {
    return device_->function;
}

std::uint64_t Adapter::read_virtual_bar(unsigned vf, unsigned bar, std::uint64_t offset, unsigned size) {
    if (vf >= max_pools || virtuals_[vf] == nullptr) return ~std::uint64_t{0};
    if (bar != virtual_register_bar) return read_msix(virtuals_[vf]->msix, offset, size);
    return read_dwords(offset, size, [&](std::uint32_t at) { return controller_.read_virtual(vf, at); });
}

void Adapter::write_virtual_bar(unsigned vf, unsigned bar, std::uint64_t offset, unsigned size, std::uint64_t value) {
    if (vf >= max_pools || virtuals_[vf] == nullptr) return;
    if (bar == virtual_register_bar) {
        write_dwords(offset, size, value,
                     [&](std::uint32_t at, std::uint32_t v) { controller_.write_virtual(vf, at, v); });
    } else if (offset < msix_pending_offset) {
        virtuals_[vf]->msix.write_table(offset, size, value);
    }
}

pci::VirtualFunctionOwner::Made Adapter::make_vf(unsigned vf, pci::Slot slot) {
    virtuals_[vf] =
        std::make_unique<VirtualDevice>(scope_.child("function" + std::to_string(vf)), std::move(slot), *this, vf);
    if (!restoring_) controller_.set_virtual_functions(vf + 1);
    return {virtuals_[vf]->function, *virtuals_[vf]};
}

void Adapter::destroy_vf(unsigned vf) {
    if (!restoring_) controller_.set_virtual_functions(vf);
    virtuals_[vf].reset();
}

pci::BusMaster* Adapter::master(unsigned function) {
    if (function == physical_function) return device_ != nullptr ? &device_->function.master() : nullptr;
    return virtuals_[function] != nullptr ? &virtuals_[function]->function.master() : nullptr;
}

bool Adapter::read(unsigned function, std::uint64_t address, std::uint32_t size, std::uint32_t cookie) {
    pci::BusMaster* by = master(function);
    return by != nullptr && dma_.read(*by, address, size, cookie);
}

bool Adapter::write(unsigned function, std::uint64_t address, std::span<const std::byte> data) {
    pci::BusMaster* by = master(function);
    return by == nullptr || dma_.write(*by, address, data, 0, false);  // a function that is gone writes nowhere
}

void Adapter::interrupt(unsigned function, unsigned vector) {
    if (function == physical_function) {
        device_->msix.raise(vector);
    } else if (virtuals_[function] != nullptr && vector < virtual_vectors) {
        virtuals_[function]->msix.raise(vector);
    }
}

void Adapter::forget(unsigned function) {
    if (pci::BusMaster* by = master(function); by != nullptr) dma_.forget(*by);
}

void Adapter::read_done(std::uint32_t cookie, pci::DmaStatus status, std::span<const std::byte> data) {
    controller_.read_done(cookie, status == pci::DmaStatus::ok, data);
}

void Adapter::save(sim::Writer& writer) const {
    auto& self = const_cast<Adapter&>(*this);  // fields() serve both directions; a writer only reads
    writer(self.device_->function, self.device_->msix, *self.functions_);
    for (const auto& one : self.virtuals_) {
        if (one != nullptr) writer(one->function, one->msix);
    }
    writer(self.controller_, hyper_v_mac_);
}

// Functions are made on the way; what that does to the controller and the link has been restored or is about to be.
void Adapter::restore(sim::Reader& reader) {
    restoring_ = true;
    reader(device_->function, device_->msix, *functions_);
    restoring_ = false;
    for (auto& one : virtuals_) {
        if (one != nullptr) reader(one->function, one->msix);
    }
    reader(controller_, hyper_v_mac_);
}

}  // namespace sriov_nic
