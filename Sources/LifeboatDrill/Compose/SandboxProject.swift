// SPDX-License-Identifier: Apache-2.0

package import LifeboatCore

/// A Compose project turned into one that touches nothing of the first: another name, networks without a way out, ports
/// that are not published, volumes of its own, folders of the host only copied or read. Pure.
///
/// A volume whose data is a component's is that component's folder in the sandbox: its services find what was restored.
package struct SandboxProject: Sendable, Equatable {
    /// What becomes of a folder or file of the host that a service uses.
    package enum Bind: Sendable, Equatable {
        /// It is in the sandbox, at this path.
        case moved(String)
        /// As it is, and only read.
        case readOnly
        /// Not there at all, for the reason given.
        case dropped(String)
    }

    /// The model, for Compose.
    package private(set) var model: JSONValue
    /// The container's port behind each published one: `8080` → service and port.
    package private(set) var published: [Int: (service: String, port: Int)] = [:]
    /// Names of the services.
    package private(set) var services: [String] = []
    /// Services each service depends on.
    package private(set) var dependencies: [String: Set<String>] = [:]
    /// Directories and files of the host that each service mounts, at their paths in the sandbox.
    package private(set) var mounts: [String: [String]] = [:]
    /// What is not as it is in the project, for people.
    package private(set) var leftOut: [String] = []

    package static func == (left: SandboxProject, right: SandboxProject) -> Bool { left.model == right.model }

    /// By name in the model: the folder that is there instead of a volume.
    private var folders: [String: String] = [:]

    /// `model`: what `docker compose config` gives. `bind` decides about a folder or file of the host, `folder` names the
    /// one that stands in for the engine's volume of that name; nil: a new volume does. Throws for what cannot be kept
    /// apart from the host.
    package init(
        _ model: JSONValue, name: String, bind: (_ source: String, _ isReadOnly: Bool) throws -> Bind,
        folder: (_ volume: String) -> String?
    ) throws {
        guard case .object(var members) = model, case .object(let all)? = members["services"] else {
            throw LifeboatError("the Compose project has no services")
        }
        let live = members["name"]?.text ?? ""
        self.model = model
        members["name"] = .string(name)
        let volumes = Self.own(members["volumes"])
        for (volume, value) in volumes {
            folders[volume] = folder(value.value(at: "name")?.text ?? "\(live)_\(volume)")
        }
        var changed: [String: JSONValue] = [:]
        for (service, value) in all.sorted(by: { $0.key < $1.key }) {
            guard case .object(let fields) = value else { continue }
            dependencies[service] = Set(Self.own(fields["depends_on"]).keys)
            changed[service] = .object(try self.changed(fields, service, live, bind))
        }
        services = changed.keys.sorted()
        members["services"] = .object(changed)
        members["networks"] = .object(
            Self.own(members["networks"]).mapValues { _ in .object(["internal": .bool(true)]) })
        members["volumes"] = .object(
            volumes.filter { folders[$0.key] == nil }.mapValues { _ in .object([:]) })
        self.model = .object(members)
    }

    private static func own(_ value: JSONValue?) -> [String: JSONValue] {
        guard case .object(let members)? = value else { return [:] }
        return members
    }

    private mutating func changed(
        _ fields: [String: JSONValue], _ service: String, _ live: String,
        _ bind: (_ source: String, _ isReadOnly: Bool) throws -> Bind
    ) throws -> [String: JSONValue] {
        var fields = fields
        for key in ["network_mode", "pid", "ipc"] where fields[key]?.text == "host" {
            throw LifeboatError(
                "service '\(service)' cannot be kept apart: '\(key): host'",
                hint: "Drill with 'sandbox: engines', which needs no services.")
        }
        if case .array(let ports)? = fields.removeValue(forKey: "ports") {
            for port in ports {
                guard let outside = port.value(at: "published")?.text.flatMap({ Int($0) }),
                    let inside = port.value(at: "target")?.text.flatMap({ Int($0) })
                else { continue }
                published[outside] = (service, inside)
            }
        }
        for key in ["container_name", "external_links", "devices"] { fields[key] = nil }
        fields["restart"] = .string("no")
        // What lives comes first when both want the processor.
        fields["cpu_shares"] = .integer(256)
        if fields.removeValue(forKey: "build") != nil, fields["image"] == nil {
            fields["image"] = .string("\(live)-\(service)")
        }
        if case .object(let networks)? = fields["networks"] {
            // Addresses that are given by hand belong to the other networks.
            fields["networks"] = .object(
                networks.mapValues { network in
                    guard let aliases = network.value(at: "aliases") else { return .null }
                    return .object(["aliases": aliases])
                })
        }
        if case .array(let volumes)? = fields["volumes"] {
            fields["volumes"] = .array(try volumes.compactMap { try mount($0, service, bind) })
        }
        return fields
    }

    private mutating func mount(
        _ volume: JSONValue, _ service: String, _ bind: (_ source: String, _ isReadOnly: Bool) throws -> Bind
    ) throws -> JSONValue? {
        guard case .object(var fields) = volume, let source = fields["source"]?.text else { return volume }
        switch fields["type"]?.text {
        case "bind":
            switch try bind(source, fields["read_only"] == .bool(true)) {
            case .moved(let path):
                fields["source"] = .string(path)
                mounts[service, default: []].append(path)
            case .readOnly: fields["read_only"] = .bool(true)
            case .dropped(let reason):
                leftOut.append("service '\(service)' has no '\(source)': \(reason)")
                return nil
            }
        case "volume":
            guard let folder = folders[source] else { return volume }
            let part = fields.removeValue(forKey: "volume")?.value(at: "subpath")?.text.map { "/\($0)" } ?? ""
            fields["type"] = .string("bind")
            fields["source"] = .string(folder + part)
            mounts[service, default: []].append(folder + part)
            // As of a volume: a service may come up before its data does.
            fields["bind"] = .object(["create_host_path": .bool(true)])
        default: return volume
        }
        return .object(fields)
    }
}
