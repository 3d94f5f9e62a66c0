#include "models/synthetic_devices.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "sim/check.h"

namespace models {

namespace {

constexpr std::size_t most_units = 64;

// The same in each run; the last bytes count devices of one type.
vmbus::Guid instance_of(vmbus::Guid family, std::size_t index) {
    family.bytes[14] = static_cast<std::uint8_t>(index >> 8);
    family.bytes[15] = static_cast<std::uint8_t>(index);
    return family;
}
constexpr vmbus::Guid network_family = vmbus::guid("2b1f3a6c-9d57-4e0a-8c43-6e6574000000");
constexpr vmbus::Guid storage_instance = vmbus::guid("7c5e0d91-34b2-4f68-9a1e-736373690000");

vmbus::NetworkProvider::Config provider_config(const NetworkConfig& config, const vmbus::Guid& instance,
                                               const ServiceCosts& costs) {
    vmbus::NetworkProvider::Config result;
    result.instance = instance;
    result.adapter.address.bytes = config.port.mac.bytes;
    result.adapter.queues = config.channels;
    result.adapter.offloads = vmbus::OffloadSettings::all(config.coalescing);
    result.bits_per_second = config.bits_per_second;
    result.costs = costs.network;
    result.costs_of_queue = config.costs_of_queue;
    return result;
}

}  // namespace

SyntheticNic::SyntheticNic(const sim::Scope& scope, vmbus::Bus& bus, Network& network, const NetworkConfig& config,
                           const vmbus::Guid& instance, const ServiceCosts& costs,
                           const vmbus::NetworkProvider::ProcessorOfQueue& processor)
    : network_(network),
      config_(config),
      port_(network.ports(), config.name, config.port),
      provider_(scope, bus, port_, provider_config(config, instance, costs), processor) {
    port_.connect(provider_);
    network.capture(port_.port(), config.name);
}

SyntheticDevices::SyntheticDevices(const sim::Scope& scope, const ServiceConfig& config, hypervisor::RootClient& client,
                                   PortNumbers& numbers, RootProcessors& processors, const HostMemory& memory,
                                   RootPages& pages, hypervisor::PartitionId partition, std::vector<MemoryRun>& runs,
                                   ServiceListener& listener)
    : scope_(scope),
      config_(config),
      client_(client),
      partition_(partition),
      processors_(processors),
      runs_(runs),
      ram_(client, pages, partition, runs),
      bus_(scope.child("vmbus"), client, numbers, memory, partition, runs, config.vps),
      heartbeat_(scope.child("heartbeat"), service_host(), {}),
      shutdown_(scope.child("shutdown"), service_host()),
      time_sync_(scope.child("time_sync"), service_host(), {.start_unix_seconds = config.epoch_s}, *this),
      keyboard_(scope.child("keyboard"), service_host(), {}),
      services_(scope, service_host(), bus_.server(), ram_, listener),
      turns_registration_(scope.register_state(turns_)) {
    if (!config.screen) return;
    constexpr Screen screen;
    vmbus::SyntheticVideo::Settings settings;
    settings.vram_megabytes = Screen::video_megabytes;
    settings.resolutions = {{screen.width, screen.height}, {800, 600}, {640, 480}};
    settings.firmware = vmbus::Framebuffer{
        .gpa = Screen::memory.first, .width = screen.width, .height = screen.height, .pitch = screen.pitch()};
    vmbus::VideoHost& video_host = *this;
    video_.emplace(scope.child("video"), service_host(), settings, video_host);
}

// The memory is where the firmware had it, from the partition's beginning to its end; nowhere else is any.
bool SyntheticDevices::place_vram(std::uint64_t gpa, std::uint64_t bytes) {
    return gpa >= Screen::memory.first && bytes <= Screen::memory.length &&
           gpa - Screen::memory.first <= Screen::memory.length - bytes;
}

std::uint64_t SyntheticDevices::reference_time() {
    const auto value = client_.get_register(partition_, 0, hypervisor::HvRegister::time_ref_count);
    return value ? value->low : 0;
}

// Services that carry little are all on one processor, spread by partition; channels with traffic on one after the
// other.
vmbus::ServiceHost SyntheticDevices::service_host() {
    return {bus_.server(), processor_of(0), costs_of(place_of(0))};
}

std::uint32_t SyntheticDevices::place_of(std::uint64_t channel) const {
    return static_cast<std::uint32_t>((partition_ + channel) % processors_.count());
}

// Copying from another node's memory takes longer.
vmbus::Costs SyntheticDevices::costs_of(std::uint32_t processor) const {
    vmbus::Costs costs = config_.costs.bus;
    costs.per_kibibyte += config_.costs.remote_kibibyte * processors_.remote_permille(processor, runs_) / 1000;
    return costs;
}

sim::Processor& SyntheticDevices::processor_at(std::uint32_t number) {
    auto& turns = turns_.of[number];
    if (!turns) turns = std::make_unique<PausableProcessor>(processors_.processor(number));
    return *turns;
}

void SyntheticDevices::hold() {
    for (const auto& [number, turns] : turns_.of) turns->hold();
}

bool SyntheticDevices::at_rest() const {
    return std::ranges::all_of(turns_.of, [](const auto& turns) { return turns.second->at_rest(); });
}

void SyntheticDevices::go_on() {
    for (const auto& [number, turns] : turns_.of) turns->go_on();
}

// The bus first: devices find their channels there.
template <class Function>
void SyntheticDevices::for_each_state(Function function) {
    function(bus_.server());
    function(heartbeat_);
    function(shutdown_);
    function(time_sync_);
    function(keyboard_);
    services_.for_each_state(function);
    for (const auto& nic : nics_) function(nic->provider());
}

void SyntheticDevices::save_elsewhere(sim::Writer& writer) {
    for_each_state([&writer](auto& state) {
        if constexpr (requires { state.save(writer); }) {
            state.save(writer);
        } else {
            writer(state);
        }
    });
}

void SyntheticDevices::restore_elsewhere(sim::Reader& reader) {
    for_each_state([&reader](auto& state) {
        if constexpr (requires { state.restore(reader); }) {
            state.restore(reader);
        } else {
            reader(state);
        }
    });
}

SyntheticNic& SyntheticDevices::add_network(Network& network, const NetworkConfig& config) {
    if (config.channels == 0 || config.channels > vmbus::NetworkProvider::largest_channel_count) {
        throw sim::UserError(fmt::format("network adapter {}: {} channels: give 1 to {}", config.name, config.channels,
                                         vmbus::NetworkProvider::largest_channel_count));
    }
    for (const std::uint32_t processor : config.processors) {
        if (processor >= processors_.count()) {
            throw sim::UserError(fmt::format("network adapter {}: the host has no processor {}: it has 0 to {}",
                                             config.name, processor, processors_.count() - 1));
        }
    }
    // One after the other, from the partition's own on, or those that are named.
    const std::size_t index = nics_.size();
    const auto place = [&](std::uint16_t queue) {
        return config.processors.empty() ? place_of(index + queue)
                                         : config.processors[queue % config.processors.size()];
    };
    const auto processor = [&](std::uint16_t queue) -> sim::Processor& { return processor_at(place(queue)); };
    NetworkConfig placed = config;
    for (std::uint16_t queue = 0; queue < config.channels; ++queue) {
        placed.costs_of_queue.push_back(config_.costs.network);
        placed.costs_of_queue.back().ring = costs_of(place(queue));
    }
    nics_.push_back(std::make_unique<SyntheticNic>(scope_.child(config.name), bus_.server(), network, placed,
                                                   instance_of(network_family, index), config_.costs, processor));
    return *nics_.back();
}

// The number of the next unit; the controller comes with the first.
std::uint8_t SyntheticDevices::next_unit(const std::string& name) {
    const std::size_t lun = disks_.size() + dvds_.size();
    if (lun == most_units) {
        throw sim::UserError(fmt::format("disk {}: a partition has at most {} disks", name, most_units));
    }
    if (!storage_) {
        vmbus::StorageConfig controller;
        controller.instance = storage_instance;
        controller.costs = costs_of(place_of(0));
        controller.per_request = config_.costs.storage_request;
        storage_.emplace(scope_.child("storage"), bus_.server(), controller,
                         [this](std::uint16_t channel) -> sim::Processor& { return processor_of(channel); });
    }
    return static_cast<std::uint8_t>(lun);
}

VirtualDisk& SyntheticDevices::add_disk(std::unique_ptr<DiskImage> image, const DiskConfig& config) {
    const std::uint8_t lun = next_unit(config.name);
    const std::uint64_t number = partition_ << 8 | lun;
    auto disk = std::make_unique<VirtualDisk>(scope_.child(config.name), std::move(image), config, number);
    VirtualDisk& added = *disks_.emplace_back(Disk{std::move(disk), lun}).disk;
    storage_->add_disk({.path = 0, .target = 0, .lun = lun}, added.unit());
    return added;
}

VirtualDvd& SyntheticDevices::add_dvd(std::unique_ptr<DiskImage> image, const std::string& name) {
    const std::uint8_t lun = next_unit(name);
    dvds_.push_back(std::make_unique<VirtualDvd>(scope_.child(name), std::move(image), partition_ << 8 | lun));
    storage_->add_disk({.path = 0, .target = 0, .lun = lun}, dvds_.back()->unit());
    return *dvds_.back();
}

void SyntheticDevices::remove_disk(const VirtualDisk& disk) {
    const auto place = std::ranges::find(disks_, &disk, [](const Disk& entry) { return entry.disk.get(); });
    if (place == disks_.end()) return;
    const vmbus::StorageAddress address{.path = 0, .target = 0, .lun = place->lun};
    if (storage_->has_disk(address)) storage_->remove_disk(address);
}

}  // namespace models
