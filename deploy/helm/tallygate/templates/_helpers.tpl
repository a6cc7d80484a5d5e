{{/* What everything is called: the release's name, with the chart's if that does not stand in it. */}}
{{- define "tallygate.name" -}}
{{- $name := .Release.Name -}}
{{- if not (contains .Chart.Name $name) }}{{ $name = printf "%s-%s" $name .Chart.Name }}{{ end -}}
{{- /* The longest name of ours is this and "-headless": a Service's may have 63 letters. */ -}}
{{- $name | trunc 54 | trimSuffix "-" -}}
{{- end }}

{{- /* What its pods are found by; it must never change. */}}
{{- define "tallygate.selector" -}}
app.kubernetes.io/name: tallygate
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "tallygate.labels" -}}
{{ include "tallygate.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end }}

{{- define "tallygate.rules" -}}
{{ .Values.existingRules | default (printf "%s-rules" (include "tallygate.name" .)) }}
{{- end }}

{{- /* What the values say together and cannot mean. */}}
{{- define "tallygate.refuse" -}}
{{- if and (not .Values.store.secret) (or (gt (int .Values.replicaCount) 1) .Values.autoscaler.enabled) -}}
{{- fail "several replicas need `store.secret`: without a Redis that they share, each lets through the whole limit. One replica: replicaCount=1" -}}
{{- end -}}
{{- if and .Values.tls.verifyClients (not .Values.tls.secret) -}}
{{- fail "`tls.verifyClients` needs `tls.secret`" -}}
{{- end -}}
{{- end }}
