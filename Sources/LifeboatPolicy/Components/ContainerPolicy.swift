// SPDX-License-Identifier: Apache-2.0

/// The container a server runs in.
package enum ContainerPolicy: Sendable, Equatable {
    /// `container: NAME`
    case name(String)
    /// `service: NAME` of Docker Compose, with `project: NAME` where several have one.
    case service(String, project: String?)

    /// The service, where the policy names one.
    package var service: String? {
        if case .service(let name, _) = self { return name }
        return nil
    }

    /// For people and comparisons.
    var address: String {
        switch self {
        case .name(let name): "container \(name)"
        case .service(let name, nil): "service \(name)"
        case .service(let name, let project?): "service \(name) of project \(project)"
        }
    }
}

extension PolicyReader {
    /// `container`, `service` and `project` of a component.
    mutating func container(_ fields: PolicyFields) -> ContainerPolicy? {
        let name = text("container", in: fields)
        let service = text("service", in: fields)
        let project = text("project", in: fields)
        if fields["container"] != nil, fields["service"] != nil {
            report(
                "'\(fields.path("container"))' and '\(fields.path("service"))' exclude each other",
                at: fields.keyLocation("service"), hint: "Keep one of them.")
        }
        if fields["project"] != nil, fields["service"] == nil {
            report(
                "'\(fields.path("project"))' means nothing without 'service'", at: fields.keyLocation("project"),
                hint: "Name the service of that project which runs the server.")
        }
        for (key, text) in [("container", name), ("service", service), ("project", project)] {
            // They become arguments of the container engine.
            guard let text, text.hasPrefix("-") || !text.utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7F && $0 != 0x2C })
            else { continue }
            report("'\(fields.path(key))' is no name of a \(key)", at: fields[key]?.location ?? fields.location)
        }
        return name.map { .name($0) } ?? service.map { .service($0, project: project) }
    }

    /// The address of a server with an HTTP interface: `url`, or the container of `service`, whose address is asked for
    /// when it is used; then the URL only names it. Nil when there is neither, or what there is was reported.
    mutating func server(
        _ fields: PolicyFields, example: String, keyName: String, port defaultPort: Int
    ) -> (url: String, container: ContainerPolicy?)? {
        if fields["service"] == nil {
            for key in ["project", "port"] where fields[key] != nil {
                report(
                    "'\(fields.path(key))' means nothing without 'service'", at: fields.keyLocation(key),
                    hint: "Name the service of Docker Compose that runs the server, or give its 'url'.")
            }
            return fields["url"].flatMap { serviceURL($0, fields.path("url"), example: example, keyName: keyName) }
                .map { ($0, nil) }
        }
        if fields["url"] != nil {
            report(
                "'\(fields.path("url"))' and '\(fields.path("service"))' exclude each other",
                at: fields.keyLocation("service"), hint: "Keep one of them.")
        }
        let port = integer("port", in: fields, 1...65_535) ?? defaultPort
        guard let container = container(fields), let service = container.service else { return nil }
        return ("http://\(service):\(port)", container)
    }
}
