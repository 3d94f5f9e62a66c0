#include "models/behavioural/storage_driver.h"

#include <utility>

#include "models/network/byte_order.h"
#include "sim/check.h"
#include "vmbus/storage/scsi.h"

namespace models {

namespace {

constexpr std::uint64_t capacity_tag = std::uint64_t{1} << 63;
constexpr std::uint32_t capacity_answer_bytes = 32, most_capacity_tries = 3;

}  // namespace

StorageDriver::Config StorageDriver::config(const DriverCosts& costs, sim::Time request, std::uint16_t sub_channels) {
    Config config;
    config.client.sub_channels = sub_channels;
    config.client.costs = costs.bus;
    config.client.per_request = request;
    return config;
}

StorageDriver::StorageDriver(const sim::Scope& scope, GuestPlatform& platform, StorageDriverUser& user,
                             const Config& config)
    : user_(user),
      config_(config),
      client_(scope.child("client"), platform.bus(), *this, config.client,
              [&platform](std::uint16_t channel) {
                  const unsigned vp = channel % platform.processor_count();
                  return vmbus::StorageClient::Place{&platform.processor(vp), vp};
              }),
      registration_(scope.register_state(*this)) {
    platform.add_driver(vmbus::interface_type::scsi, *this);
}

void StorageDriver::submit(std::uint64_t tag, vmbus::StorageIo io, unsigned vp) {
    io.tag = tag;
    io.address = config_.disk;
    client_.submit(std::move(io), static_cast<std::uint16_t>(vp % (config_.client.sub_channels + 1u)));
}

void StorageDriver::storage_ready() {
    vmbus::StorageIo io;
    io.cdb[0] = static_cast<std::uint8_t>(vmbus::scsi::Opcode::service_action_in_16);
    io.cdb[1] = vmbus::scsi::action_read_capacity_16;
    io.cdb[13] = capacity_answer_bytes;
    io.cdb_length = 16;
    io.read_bytes = capacity_answer_bytes;
    submit(capacity_tag, std::move(io), 0);
}

void StorageDriver::storage_done(std::uint64_t tag, vmbus::StorageAnswer answer) {
    if (tag != capacity_tag) return user_.storage_done(tag, answer.succeeded(), answer.data_in);
    // A unit says that it was reset before it answers.
    if (!answer.succeeded() && ++state_.tries < most_capacity_tries) return storage_ready();
    if (!answer.succeeded() || answer.data_in.size() < 12) return;
    const std::uint64_t last = std::uint64_t{load_be32(answer.data_in, 0)} << 32 | load_be32(answer.data_in, 4);
    state_.blocks = last + 1;
    state_.block_bytes = load_be32(answer.data_in, 8);
    user_.storage_ready();
}

void StorageDriver::read(std::uint64_t tag, std::uint64_t block, std::uint32_t count, unsigned vp) {
    submit(tag, vmbus::storage_read(block, count, state_.block_bytes), vp);
}

void StorageDriver::write(std::uint64_t tag, std::uint64_t block, std::vector<std::byte> data, unsigned vp) {
    submit(tag, vmbus::storage_write(block, std::move(data), state_.block_bytes, false), vp);
}

void StorageDriver::flush(std::uint64_t tag, unsigned vp) {
    submit(tag, vmbus::storage_flush(), vp);
}

}  // namespace models
