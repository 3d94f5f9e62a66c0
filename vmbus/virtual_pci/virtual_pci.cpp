#include "vmbus/virtual_pci/virtual_pci.h"

#include <algorithm>
#include <bit>
#include <utility>

#include "sim/check.h"
#include "vmbus/inband/bytes.h"

namespace vmbus {

namespace vp = virtual_pci;
using vp::Type;

namespace {

constexpr std::uint32_t only_slot = vp::slot_of(0, 0);

Offer pci_offer(std::uint16_t number) {
    Offer offer;
    offer.type = interface_type::pci;
    offer.instance = VirtualPci::instance_of(number);
    return offer;
}

std::vector<std::byte> completion(std::uint32_t status) {
    return ByteBuilder{}.u32(status).u32(0).take();
}

const vp::Row* find_row(std::uint32_t type, std::size_t body_bytes) {
    for (const vp::Row& row : vp::messages) {
        if (row.type == type) {
            return row.direction == inband::Direction::from_guest && body_bytes >= row.least_bytes ? &row : nullptr;
        }
    }
    return nullptr;
}

}  // namespace

// Linux takes the domain's number from bytes 4 and 5, and the device's identifier from bytes 4 to 7.
Guid VirtualPci::instance_of(std::uint16_t number) {
    Guid instance = guid("00000000-0000-0000-a3c1-706369000000");
    instance.bytes[4] = static_cast<std::uint8_t>(number);
    instance.bytes[5] = static_cast<std::uint8_t>(number >> 8);
    return instance;
}

std::uint64_t VirtualPci::device_id_of(std::uint16_t number) {
    const Guid instance = instance_of(number);
    return std::uint64_t{instance.bytes[5]} << 24 | std::uint64_t{instance.bytes[4]} << 16 |
           std::uint64_t{instance.bytes[7]} << 8 | (instance.bytes[6] & 0xf8u);
}

VirtualPci::VirtualPci(const sim::Scope& scope, const ServiceHost& host, std::uint16_t number,
                       VirtualPciFunction& function, std::uint32_t newest_version)
    : scope_(scope),
      function_(function),
      newest_version_(newest_version),
      interrupts_(scope.counter("interrupts", "count", "interrupts that the guest has created")),
      refused_(scope.counter("refused", "count", "requests of the guest that failed")),
      port_(scope, host, pci_offer(number), *this, InbandPort::Offered::later),
      registration_(scope.register_state(*this)) {
    VG_CHECK(number != 0, "PCI domain 0 is a machine's own");
}

void VirtualPci::offer(const PciIdentity& identity) {
    identity_ = identity;
    scope_.trace("pci.offer", identity.vendor, identity.device, identity.serial);
    port_.offer();
}

void VirtualPci::eject() {
    if (!offered() || state_.ejecting) return;
    scope_.trace("pci.eject", state_.announced);
    if (!state_.announced) return function_.ejected();
    state_.ejecting = true;
    port_.send(ByteBuilder{}.u32(static_cast<std::uint32_t>(Type::eject)).u32(only_slot).take());
}

void VirtualPci::rescind() {
    if (!offered()) return;
    scope_.trace("pci.rescind", state_.announced);
    port_.rescind();
}

void VirtualPci::closed() {
    const bool ejecting = state_.ejecting;
    leave_d0();
    state_ = {};
    // A guest that closes the channel instead of answering has let go as well.
    if (ejecting && offered()) function_.ejected();
}

void VirtualPci::received(std::span<const std::byte> message, std::uint64_t) {
    if (!handle(message)) port_.fault("PCI: not a message that a guest may send");
}

bool VirtualPci::requested(std::span<const std::byte> message, std::uint64_t transaction) {
    auto answer = handle(message);
    if (!answer) {
        port_.fault("PCI: not a request that a guest may make");
    } else {
        port_.complete(std::move(*answer), transaction);
    }
    return true;
}

std::optional<std::vector<std::byte>> VirtualPci::handle(std::span<const std::byte> message) {
    ByteReader body{message};
    const std::uint32_t number = body.u32();
    const vp::Row* row = find_row(number, body.rest().size());
    if (!body.complete() || row == nullptr) return std::nullopt;
    const auto type = static_cast<Type>(number);
    scope_.trace("pci.message", number - vp::type_base);
    if (type == Type::query_protocol_version) return agree_version(body.u32());
    if (state_.version == 0) return std::nullopt;
    const auto refuse = [this](std::uint32_t status) {
        ++refused_;
        return completion(status);
    };
    if (state_.version < row->first_version || state_.version > row->last_version)
        return refuse(vp::status::not_supported);

    switch (type) {
        case Type::query_bus_relations:
            send_relations();
            return completion(vp::status::success);
        case Type::bus_d0_entry:
            body.skip(4);
            return enter_d0(body.u64());
        case Type::bus_d0_exit:
            leave_d0();
            return completion(vp::status::success);
        default:
            break;
    }
    const std::span<const std::byte> whole = body.rest();
    if (body.u32() != only_slot) return refuse(vp::status::no_such_device);
    switch (type) {
        case Type::query_resource_requirements: {
            ByteBuilder answer;
            answer.u32(vp::status::success);
            for (const std::uint32_t mask : function_.bar_masks()) answer.u32(mask);
            return answer.zeros(4).take();
        }
        case Type::create_interrupt:
        case Type::create_interrupt2:
        case Type::create_interrupt3:
            return create_interrupt(type, whole.subspan(4));
        case Type::delete_interrupt:
            delete_interrupt(whole.subspan(4));
            return completion(vp::status::success);
        case Type::ejection_complete:
            if (std::exchange(state_.ejecting, false)) {
                state_.announced = false;
                function_.ejected();
            }
            return completion(vp::status::success);
        case Type::resources_assigned:
        case Type::resources_assigned2:
        case Type::resources_released:
            return completion(vp::status::success);  // where the BARs are, the guest tells the BARs
        default:
            return refuse(vp::status::not_supported);  // power states, and blocks that a function's maker defines
    }
}

std::vector<std::byte> VirtualPci::agree_version(std::uint32_t asked) {
    const bool known = std::ranges::find(vp::versions, asked) != vp::versions.end() && asked <= newest_version_;
    if (known) state_.version = asked;
    scope_.trace("pci.version", asked, known);
    return ByteBuilder{}.u32(known ? vp::status::success : vp::status::revision_mismatch).u32(newest_version_).take();
}

std::vector<std::byte> VirtualPci::enter_d0(std::uint64_t window) {
    std::uint32_t result = vp::status::success;
    if (state_.window) {
        result = vp::status::invalid_device_state;  // a crashed guest's successor leaves D0 first
    } else if (window % 0x1000 != 0 || !function_.place_window(window)) {
        result = vp::status::invalid_parameter;
    } else {
        state_.window = window;
    }
    if (result != vp::status::success) ++refused_;
    scope_.trace("pci.d0_entry", window, result);
    return completion(result);
}

void VirtualPci::leave_d0() {
    if (!std::exchange(state_.window, std::nullopt)) return;
    scope_.trace("pci.d0_exit");
    function_.remove_window();
}

std::vector<std::byte> VirtualPci::create_interrupt(Type type, std::span<const std::byte> bytes) {
    ByteReader body{bytes};
    PciInterrupt wanted;
    wanted.vector = type == Type::create_interrupt3 ? body.u32() : body.u8();
    wanted.delivery_mode = body.u8();
    if (type == Type::create_interrupt3) body.skip(1);
    wanted.count = body.u16();
    bool valid = std::has_single_bit(wanted.count) && wanted.count <= 32;
    if (type == Type::create_interrupt) {
        body.skip(4);
        wanted.processors = body.u64();
    } else {
        const unsigned processors = body.u16();
        valid = valid && processors <= vp::most_processors;
        for (unsigned n = 0; valid && n < processors; ++n) {
            const std::uint16_t processor = body.u16();
            valid = processor < 64;
            if (valid) wanted.processors |= std::uint64_t{1} << processor;
        }
    }
    valid = valid && body.complete() && wanted.processors != 0;
    if (!valid) return refuse_interrupt(vp::status::invalid_parameter);
    const std::optional<PciMessage> made = function_.create_interrupt(wanted);
    if (!made) return refuse_interrupt(vp::status::insufficient_resources);
    const PciMessage message = *made;
    ++interrupts_;
    scope_.trace("pci.interrupt", wanted.vector, wanted.processors, message.address, message.data);
    ByteBuilder answer;
    answer.u32(vp::status::success).zeros(6).u16(message.count).u32(message.data).u64(message.address);
    return answer.take();
}

std::vector<std::byte> VirtualPci::refuse_interrupt(std::uint32_t status) {
    ++refused_;
    return ByteBuilder{}.u32(status).zeros(20).take();
}

void VirtualPci::delete_interrupt(std::span<const std::byte> bytes) {
    ByteReader body{bytes};
    PciMessage message;
    body.skip(2);
    message.count = body.u16();
    message.data = body.u32();
    message.address = body.u64();
    scope_.trace("pci.delete_interrupt", message.address, message.data);
    function_.delete_interrupt(message);
}

void VirtualPci::send_relations() {
    const bool second = state_.version >= vp::version_1_3;
    const bool present = !state_.ejecting;
    state_.announced = state_.announced || present;
    ByteBuilder message;
    message.u32(static_cast<std::uint32_t>(second ? Type::bus_relations2 : Type::bus_relations));
    message.u32(present ? 1 : 0);
    if (present) {
        const PciIdentity& who = identity_;
        message.u16(who.vendor).u16(who.device).u8(who.revision).u8(who.programming_interface);
        message.u16(who.class_of).u16(who.subsystem_vendor).u16(who.subsystem).u32(only_slot).u32(who.serial);
        if (second) message.u32(who.numa_node ? vp::numa_node_valid : 0).u16(who.numa_node.value_or(0)).u16(0);
    }
    // A guest drops packets of so few bytes as an empty list has.
    if (!present) message.zeros(8);
    port_.send(message.take());
}

}  // namespace vmbus
