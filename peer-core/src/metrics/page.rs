//! Metrics one by one.

use std::fmt;

use prometheus_client::{
    encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet},
    metrics::MetricType,
};

use crate::counters::Histogram;

/// The name and the value of a label.
pub(super) type Label<'a> = (&'static str, &'a str);

/// A page that metrics are written to.
pub(super) struct Page<'a>(DescriptorEncoder<'a>);

impl<'a> Page<'a> {
    pub(super) fn new(encoder: DescriptorEncoder<'a>) -> Self {
        Self(encoder)
    }

    pub(super) fn counter(&mut self, name: &str, help: &str, value: u64) -> fmt::Result {
        let mut metric = self.metric(name, help, MetricType::Counter)?;
        counter(&mut metric, value)
    }

    pub(super) fn counters<'l>(
        &mut self,
        name: &str,
        help: &str,
        values: impl IntoIterator<Item = (Label<'l>, u64)>,
    ) -> fmt::Result {
        let mut metric = self.metric(name, help, MetricType::Counter)?;
        for (label, value) in values {
            counter(&mut metric.encode_family(&[label])?, value)?;
        }
        Ok(())
    }

    pub(super) fn seconds(&mut self, name: &str, help: &str, value: f64) -> fmt::Result {
        let mut metric = self.metric(name, help, MetricType::Counter)?;
        metric.encode_counter::<NoLabelSet, f64, f64>(&value, None)
    }

    pub(super) fn many_seconds<'l>(
        &mut self,
        name: &str,
        help: &str,
        values: impl IntoIterator<Item = (Label<'l>, f64)>,
    ) -> fmt::Result {
        let mut metric = self.metric(name, help, MetricType::Counter)?;
        for (label, value) in values {
            let labels = [label];
            let mut series = metric.encode_family(&labels)?;
            series.encode_counter::<NoLabelSet, f64, f64>(&value, None)?;
        }
        Ok(())
    }

    pub(super) fn gauge(&mut self, name: &str, help: &str, value: u64) -> fmt::Result {
        let mut metric = self.metric(name, help, MetricType::Gauge)?;
        metric.encode_gauge(&value)
    }

    pub(super) fn gauges<'l>(
        &mut self,
        name: &str,
        help: &str,
        values: impl IntoIterator<Item = (Label<'l>, u64)>,
    ) -> fmt::Result {
        let mut metric = self.metric(name, help, MetricType::Gauge)?;
        for (label, value) in values {
            metric.encode_family(&[label])?.encode_gauge(&value)?;
        }
        Ok(())
    }

    pub(super) fn histogram(&mut self, name: &str, help: &str, values: &Histogram) -> fmt::Result {
        let mut metric = self.metric(name, help, MetricType::Histogram)?;
        histogram(&mut metric, values)
    }

    pub(super) fn histograms<'l, 'h>(
        &mut self,
        name: &str,
        help: &str,
        values: impl IntoIterator<Item = (Label<'l>, &'h Histogram)>,
    ) -> fmt::Result {
        let mut metric = self.metric(name, help, MetricType::Histogram)?;
        for (label, values) in values {
            histogram(&mut metric.encode_family(&[label])?, values)?;
        }
        Ok(())
    }

    pub(super) fn info(&mut self, name: &str, help: &str, labels: &[Label<'_>]) -> fmt::Result {
        let mut metric = self.metric(name, help, MetricType::Info)?;
        metric.encode_info(&labels)
    }

    fn metric<'s>(
        &'s mut self,
        name: &'s str,
        help: &str,
        kind: MetricType,
    ) -> Result<MetricEncoder<'s>, fmt::Error> {
        self.0.encode_descriptor(name, help, None, kind)
    }
}

fn counter(metric: &mut MetricEncoder<'_>, value: u64) -> fmt::Result {
    metric.encode_counter::<NoLabelSet, u64, f64>(&value, None)
}

fn histogram(metric: &mut MetricEncoder<'_>, values: &Histogram) -> fmt::Result {
    let buckets = values.buckets();
    let count = buckets.iter().map(|(_, count)| count).sum();
    metric.encode_histogram::<NoLabelSet>(values.sum(), count, &buckets, None)
}
